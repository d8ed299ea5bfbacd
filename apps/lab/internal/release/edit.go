package release

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
	var entries *kyaml.RNode
	if len(images) > 0 {
		if entries, err = d.roots[0].Pipe(kyaml.Lookup("images")); err != nil {
			return nil, err
		}
	}
	// From the last to the first, so that the lines of those before stay where they are.
	for i, image := range slices.Backward(images) {
		images[i] = change(image)
		if err := d.setImage(kyaml.NewRNode(entries.Content()[i]), images[i]); err != nil {
			return nil, fmt.Errorf("images: entry %s: %w", image.Name, err)
		}
	}
	edited := d.bytes()
	if got, err := Images(edited); err != nil {
		return nil, fmt.Errorf("images: cannot be edited as they are written: %w", err)
	} else if !slices.Equal(got, images) {
		return nil, fmt.Errorf("images: cannot be edited as they are written: expected %v, got %v", images, got)
	}
	return edited, nil
}

// document is a file of YAML, as lines and as nodes that know their places.
type document struct {
	lines []string // with their ends
	roots []*kyaml.RNode
}

func parse(content []byte) (*document, error) {
	d := &document{lines: slices.Collect(strings.Lines(string(content)))}
	for in := kyaml.NewDecoder(bytes.NewReader(content)); ; {
		var node kyaml.Node
		if err := in.Decode(&node); errors.Is(err, io.EOF) {
			return d, nil
		} else if err != nil {
			return nil, errors.New(strings.Join(strings.Fields(err.Error()), " "))
		}
		d.roots = append(d.roots, kyaml.NewRNode(&node))
	}
}

func (d *document) bytes() []byte { return []byte(strings.Join(d.lines, "")) }

// set gives the scalar of a field another value.
func (d *document) set(field string, node *kyaml.Node, value string) error {
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
		found := entry.Field(field)
		if found.IsNilOrEmpty() {
			return fmt.Errorf("has no %s: add it", field)
		}
		if err := d.set(field, found.Value.YNode(), value); err != nil {
			return err
		}
	}
	switch digest := entry.Field("digest"); {
	case digest.IsNilOrEmpty() && image.Digest == "":
		return nil
	case digest.IsNilOrEmpty():
		key := entry.Field("newTag").Key.YNode()
		line := strings.Repeat(" ", key.Column-1) + "digest: " + image.Digest + "\n"
		d.lines = slices.Insert(d.lines, key.Line, line)
		return nil
	case image.Digest == "":
		line := digest.Key.YNode().Line
		d.lines = slices.Delete(d.lines, line-1, line)
		return nil
	default:
		return d.set("digest", digest.Value.YNode(), image.Digest)
	}
}
