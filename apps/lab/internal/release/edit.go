package release

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/yaml"
)

// Images returns the images: entries of a kustomization.
func Images(content []byte) ([]types.Image, error) {
	var k types.Kustomization
	if err := k.Unmarshal(content); err != nil {
		return nil, errors.New(strings.Join(strings.Fields(err.Error()), " "))
	}
	return k.Images, nil
}

// SetImages returns a kustomization with the images: entries that change makes of
// its own. Only newName, newTag and digest can be changed.
func SetImages(content []byte, change func(types.Image) types.Image) ([]byte, error) {
	images, err := Images(content)
	if err != nil {
		return nil, err
	}
	d, err := parse(content)
	if err != nil {
		return nil, err
	}
	entries, err := d.root.Pipe(kyaml.Lookup("images"))
	if err != nil {
		return nil, err
	}
	// From the last to the first, so that the lines of those before stay where they are.
	for i, image := range slices.Backward(images) {
		images[i] = change(image)
		if err := d.setImage(kyaml.NewRNode(entries.Content()[i]), images[i]); err != nil {
			return nil, fmt.Errorf("images: entry %s: %w", image.Name, err)
		}
	}
	edited := d.bytes()
	if got, err := Images(edited); err != nil || !slices.Equal(got, images) {
		return nil, fmt.Errorf("images: cannot be edited as they are written: %w", errors.Join(err, fmt.Errorf("%v became %v", images, got)))
	}
	return edited, nil
}

// document is a file of YAML, as lines and as nodes that know their places.
type document struct {
	lines []string // with their ends
	root  *kyaml.RNode
}

func parse(content []byte) (*document, error) {
	root, err := kyaml.Parse(string(content))
	if err != nil {
		return nil, errors.New(strings.Join(strings.Fields(err.Error()), " "))
	}
	return &document{slices.Collect(strings.Lines(string(content))), root}, nil
}

// editKind edits the one document of a file that has the kind.
func editKind(content []byte, kind string, change func(*document) error) ([]byte, error) {
	documents := strings.SplitAfter(string(content), "\n---\n")
	found := -1
	for i, text := range documents {
		d, err := parse([]byte(strings.TrimSuffix(text, "---\n")))
		if err != nil {
			return nil, err
		}
		if d.root.GetKind() != kind {
			continue
		}
		if found >= 0 {
			return nil, fmt.Errorf("has two objects of kind %s, expected 1", kind)
		}
		found = i
		if err := change(d); err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		documents[i] = string(d.bytes()) + text[len(strings.TrimSuffix(text, "---\n")):]
	}
	if found < 0 {
		return nil, fmt.Errorf("has no object of kind %s, expected 1", kind)
	}
	return []byte(strings.Join(documents, "")), nil
}

func (d *document) bytes() []byte { return []byte(strings.Join(d.lines, "")) }

// set gives the scalar at a path another value.
func (d *document) set(at *kyaml.RNode, value string, path ...string) error {
	field := strings.Join(path, ".")
	found, err := at.Pipe(kyaml.Lookup(path...))
	if err != nil {
		return err
	}
	if found.IsNil() {
		return fmt.Errorf("has no %s: add it", field)
	}
	node := found.YNode()
	old := node.Value
	switch node.Style {
	case kyaml.SingleQuotedStyle:
		old = "'" + old + "'"
	case kyaml.DoubleQuotedStyle:
		old = `"` + old + `"`
	}
	line, column := d.lines[node.Line-1], node.Column-1
	if column > len(line) || !strings.HasPrefix(line[column:], old) {
		return fmt.Errorf("%s: %q is not written on one line: write it so", field, node.Value)
	}
	if value == node.Value {
		return nil
	}
	text, err := yaml.Marshal(value) // quoted, where it must be
	if err != nil {
		return err
	}
	d.lines[node.Line-1] = line[:column] + strings.TrimSuffix(string(text), "\n") + line[column+len(old):]
	return nil
}

// setImage sets the fields of an entry; digest is a line that comes and goes.
func (d *document) setImage(entry *kyaml.RNode, image types.Image) error {
	if entry.YNode().Style&kyaml.FlowStyle != 0 {
		return errors.New("is written in braces: write one field a line")
	}
	for field, value := range map[string]string{"newName": image.NewName, "newTag": image.NewTag} {
		if err := d.set(entry, value, field); err != nil {
			return err
		}
	}
	switch digest, tag := entry.Field("digest"), entry.Field("newTag"); {
	case digest.IsNilOrEmpty() && image.Digest == "":
		return nil
	case digest.IsNilOrEmpty():
		key := tag.Key.YNode()
		line := strings.Repeat(" ", key.Column-1) + "digest: " + image.Digest + "\n"
		d.lines = slices.Insert(d.lines, key.Line, line)
		return nil
	case image.Digest == "":
		line := digest.Key.YNode().Line
		d.lines = slices.Delete(d.lines, line-1, line)
		return nil
	}
	return d.set(entry, image.Digest, "digest")
}
