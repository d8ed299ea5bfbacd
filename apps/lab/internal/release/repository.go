package release

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"sigs.k8s.io/kustomize/api/types"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
)

// Repository is what Argo CD reads.
type Repository struct {
	URL    string
	Branch string
}

// places are the files that name the repository. The second repeats the first,
// because it is applied before anything is rendered.
var places = []struct {
	file        string
	url, branch []string
}{
	{"argocd/repository.yaml", []string{"data", "url"}, []string{"data", "revision"}},
	{"argocd/root.yaml", []string{"spec", "source", "repoURL"}, []string{"spec", "source", "targetRevision"}},
}

// ReadRepository returns the repository that the checkout's Applications name.
func ReadRepository(root string) (Repository, error) {
	place := places[0]
	content, err := os.ReadFile(filepath.Join(root, place.file))
	if err != nil {
		return Repository{}, err
	}
	d, err := parse(content)
	if err != nil {
		return Repository{}, fmt.Errorf("%s: %w", place.file, err)
	}
	get := func(path []string) string {
		node, err := d.root.Pipe(kyaml.Lookup(path...))
		if err != nil || node.IsNil() {
			return ""
		}
		return node.YNode().Value
	}
	return Repository{get(place.url), get(place.branch)}, nil
}

// urlForm is what git takes: scheme://host/path or user@host:path.
var urlForm = regexp.MustCompile(`^(?:[a-z]+://[^\s/]*/\S+|[^\s/@]+@[^\s/:]+:\S+)$`)

// SetRepository makes Argo CD read another repository; an empty branch leaves it
// as it is.
func SetRepository(root string, r Repository) error {
	if !urlForm.MatchString(r.URL) {
		return fmt.Errorf("repository %q: expected a URL that git takes, such as https://github.com/me/grpc-lb.git", r.URL)
	}
	for _, place := range places {
		err := edit(root, place.file, func(content []byte) ([]byte, error) {
			d, err := parse(content)
			if err != nil {
				return nil, err
			}
			if err := d.set(d.root, r.URL, place.url...); err != nil {
				return nil, err
			}
			if r.Branch != "" {
				err = d.set(d.root, r.Branch, place.branch...)
			}
			return d.bytes(), err
		})
		if err != nil {
			return err
		}
	}
	return nil
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
