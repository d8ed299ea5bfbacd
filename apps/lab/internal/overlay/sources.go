package overlay

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// Kustomization is one kustomization.yaml that a rendering is made of.
type Kustomization struct {
	File string // relative to the checkout, with slashes
	types.Kustomization
}

// Sources returns the kustomizations that the one in dir, relative to the
// checkout, is made of, itself first.
//
// kustomize writes its warnings to standard error and carries on, and an error
// deep in a base reaches the caller as a chain of every directory on the way.
// Reading the sources first turns either into one error with the file's name.
func (r *Repository) Sources(dir string) ([]Kustomization, error) {
	file := path.Join(dir, "kustomization.yaml")
	content, err := r.read(file)
	if err != nil {
		return nil, err
	}
	k := Kustomization{File: file}
	if err := k.Unmarshal(content); err != nil {
		return nil, fmt.Errorf("%s: %s", file, oneLine(err))
	}
	if warnings := *k.CheckDeprecatedFields(); len(warnings) > 0 {
		return nil, fmt.Errorf("%s: %s", file, strings.TrimPrefix(strings.Join(warnings, "; "), "# "))
	}
	all := []Kustomization{k}
	for _, entry := range append(k.Resources, k.Components...) {
		below, err := r.source(path.Join(dir, entry))
		if err != nil {
			return nil, fmt.Errorf("%w (named by %s)", err, file)
		}
		all = append(all, below...)
	}
	for _, p := range k.Patches {
		if p.Path == "" {
			continue
		}
		if _, err := r.source(path.Join(dir, p.Path)); err != nil {
			return nil, fmt.Errorf("%w (named by %s)", err, file)
		}
	}
	return all, nil
}

// source reads one entry of a kustomization: a directory like Sources, a file
// for nothing but its errors.
func (r *Repository) source(entry string) ([]Kustomization, error) {
	info, err := os.Stat(filepath.Join(r.root, entry))
	if err == nil && info.IsDir() {
		return r.Sources(entry)
	}
	content, err := r.read(entry)
	if err != nil {
		return nil, err
	}
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		var content any // an object, or the list that a JSON patch is
		if err := yaml.UnmarshalStrict([]byte(document), &content); err != nil {
			return nil, fmt.Errorf("%s: %s", entry, oneLine(err))
		}
	}
	return nil, nil
}

// oneLine folds the lines of an error into one.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
