package release

import (
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

// urlForm is what git takes: scheme://host/path or user@host:path.
var urlForm = regexp.MustCompile(`^(?:[a-z]+://[^\s/]*/\S+|[^\s/@]+@[^\s/:]+:\S+)$`)

// SetRepository makes Argo CD read another repository; an empty branch leaves it
// as it is.
func SetRepository(root string, r Repository) error {
	if !urlForm.MatchString(r.URL) {
		return fmt.Errorf("repository %q: expected a URL that git takes, such as https://github.com/me/grpc-lb.git", r.URL)
	}
	was, err := ReadRepository(root)
	if err != nil {
		return err
	}
	if r.Branch == "" {
		r.Branch = was.Branch
	}
	for _, file := range []string{atRoot, ofRepository} { // last what says how it was
		if err := edit(root, file, func(content []byte) ([]byte, error) { return r.replace(content, was) }); err != nil {
			return err
		}
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

// SetRegistry has the images come from another registry, with tag and digests as
// they are: the same sources give the same digests.
func SetRegistry(root, registry string) error {
	return edit(root, Component, func(content []byte) ([]byte, error) {
		return SetImages(content, func(image types.Image) types.Image {
			image.NewName = registry + "/" + image.Name
			return image
		})
	})
}
