package release

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"sigs.k8s.io/kustomize/api/types"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/yaml"
)

// Repository is what Argo CD reads.
type Repository struct {
	URL    string
	Branch string
}

// ofRepository names the repository, and atRoot repeats it, because it is applied
// before anything is rendered.
const (
	ofRepository = "argocd/repository.yaml"
	atRoot       = "argocd/root.yaml"
)

// ReadRepository returns the repository that the checkout's Applications name.
func ReadRepository(root string) (Repository, error) {
	content, err := os.ReadFile(filepath.Join(root, ofRepository))
	if err != nil {
		return Repository{}, err
	}
	var named struct {
		Data struct{ URL, Revision string }
	}
	if err := yaml.Unmarshal(content, &named); err != nil {
		return Repository{}, fmt.Errorf("%s: %w", ofRepository, err)
	}
	if named.Data.URL == "" || named.Data.Revision == "" {
		return Repository{}, fmt.Errorf("%s: expected data.url and data.revision, and found %+v", ofRepository, named.Data)
	}
	return Repository{named.Data.URL, named.Data.Revision}, nil
}

var (
	// urlForm is what Argo CD takes, without a password, which would be committed:
	// https://host/path, ssh://user@host/path or user@host:path.
	urlForm = regexp.MustCompile(`^(?:(?:https?|git)://[^\s/@?#]+|ssh://(?:[^\s/:@?#]+@)?[^\s/@?#]+)/[^\s?#]+$|^[^\s/:@]+@[^\s/:@]+:[^\s?#]+$`)
	// branchForm is narrower than git's: kustomize copies the name without quotes, so
	// it must be no number.
	branchForm = regexp.MustCompile(`^[\w./-]*[A-Za-z][\w./-]*$`)
)

// SetRepository makes Argo CD read another repository; an empty branch leaves it
// as it is.
func SetRepository(root string, r Repository) error {
	e := newEdits(root)
	if err := e.setRepository(r); err != nil {
		return err
	}
	return e.write()
}

// Fork makes Argo CD read another repository, and has the images come from another
// registry, with tag and digests as they are: the same sources give the same digests.
func Fork(root string, r Repository, registry string) error {
	e := newEdits(root)
	if err := e.setRepository(r); err != nil {
		return err
	}
	e.edit(Component, func(content []byte) ([]byte, error) {
		if images, err := Images(content); err == nil && len(images) == 0 {
			return nil, errors.New("names no images: restore it, by git checkout")
		}
		return SetImages(content, func(image types.Image) types.Image {
			image.NewName = registry + "/" + image.Name
			return image
		})
	})
	return e.write()
}

func (e *edits) setRepository(r Repository) error {
	if !urlForm.MatchString(r.URL) {
		return fmt.Errorf("repository %q: expected a URL that git takes, without a password, such as https://github.com/me/grpc-lb.git", r.URL)
	}
	if r.Branch != "" && !branchForm.MatchString(r.Branch) {
		return fmt.Errorf("branch %q: expected a name with a letter, of letters, digits and ._/-", r.Branch)
	}
	was, err := ReadRepository(e.root)
	if err != nil {
		return err
	}
	if r.Branch == "" {
		r.Branch = was.Branch
	}
	for _, file := range []string{atRoot, ofRepository} {
		e.edit(file, func(content []byte) ([]byte, error) { return r.replace(content, was) })
	}
	return nil
}

// replace puts the repository in place of another, wherever a document names that.
func (r Repository) replace(content []byte, was Repository) ([]byte, error) {
	d, err := parse(content)
	if err != nil {
		return nil, err
	}
	named := false
	var visit func(field string, node *kyaml.Node) error
	visit = func(field string, node *kyaml.Node) error {
		switch {
		case node.Kind == kyaml.ScalarNode && node.Value == was.URL:
			named = true
			return d.set(field, node, r.URL)
		case node.Kind == kyaml.ScalarNode && node.Value == was.Branch && (field == "revision" || field == "targetRevision"):
			return d.set(field, node, r.Branch)
		}
		for i, below := range node.Content {
			of := field
			if node.Kind == kyaml.MappingNode && i%2 == 1 {
				of = node.Content[i-1].Value
			}
			if err := visit(of, below); err != nil {
				return err
			}
		}
		return nil
	}
	for _, document := range d.roots {
		if err := visit("", document.YNode()); err != nil {
			return nil, err
		}
	}
	if !named {
		return nil, fmt.Errorf("does not name %s, as %s does: let both name the same", was.URL, ofRepository)
	}
	return d.bytes(), nil
}
