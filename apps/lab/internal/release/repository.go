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

// places are the fields that name the repository, in the only object of its kind of a
// file. root.yaml repeats them, because it is applied before anything is rendered.
var places = []struct {
	file, kind  string
	url, branch []string // no branch is none to set
}{
	{"argocd/repository.yaml", "ConfigMap", []string{"data", "url"}, []string{"data", "revision"}},
	{"argocd/root.yaml", "AppProject", []string{"spec", "sourceRepos", "0"}, nil},
	{"argocd/root.yaml", "Application", []string{"spec", "source", "repoURL"}, []string{"spec", "source", "targetRevision"}},
}

// ReadRepository returns the repository that the checkout's Applications name.
func ReadRepository(root string) (r Repository, err error) {
	place := places[0]
	content, err := os.ReadFile(filepath.Join(root, place.file))
	if err != nil {
		return r, err
	}
	_, err = editKind(content, place.kind, func(d *document) error {
		get := func(path []string) string {
			node, err := d.root.Pipe(kyaml.Lookup(path...))
			if err != nil || node.IsNil() {
				return ""
			}
			return node.YNode().Value
		}
		r = Repository{get(place.url), get(place.branch)}
		return nil
	})
	if err != nil {
		return r, fmt.Errorf("%s: %w", place.file, err)
	}
	return r, nil
}

// urlForm is what git takes: scheme://host/path or user@host:path.
var urlForm = regexp.MustCompile(`^(?:[a-z]+://[^\s/]*/\S+|[^\s/@]+@[^\s/:]+:\S+)$`)

// SetRepository makes Argo CD read another repository; an empty branch leaves it
// as it is.
func SetRepository(root string, r Repository) error {
	if !urlForm.MatchString(r.URL) {
		return fmt.Errorf("repository %q: expected a URL that git takes, such as https://github.com/me/grpc-lb.git", r.URL)
	}
	edited := map[string][]byte{} // all of it, before any of it is written
	for _, place := range places {
		content, err := edited[place.file], error(nil)
		if content == nil {
			content, err = os.ReadFile(filepath.Join(root, place.file))
		}
		if err != nil {
			return err
		}
		edited[place.file], err = editKind(content, place.kind, func(d *document) error {
			err := d.set(d.root, r.URL, place.url...)
			if err == nil && r.Branch != "" && place.branch != nil {
				err = d.set(d.root, r.Branch, place.branch...)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", place.file, err)
		}
	}
	for file, content := range edited {
		if err := os.WriteFile(filepath.Join(root, file), content, 0o644); err != nil {
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
