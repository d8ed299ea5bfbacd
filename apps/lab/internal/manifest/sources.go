package manifest

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// Kustomization is one kustomization.yaml that a rendering is made of.
type Kustomization struct {
	File string // relative to the checkout, with slashes
	types.Kustomization
}

// fileError is what is wrong with one file of the checkout.
type fileError struct {
	file    string
	err     error
	warning bool // kustomize would only warn of it
}

func (e *fileError) Error() string { return e.file + ": " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// Sources returns the kustomizations that the one in dir, relative to the
// checkout, is made of, itself first.
//
// kustomize writes its warnings to standard error and carries on, and an error
// deep in a base reaches the caller as a chain of every directory on the way.
// Reading the sources first turns either into one error with the file's name.
func (r *Repository) Sources(dir string) ([]Kustomization, error) {
	all, errs := r.sources(dir)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return all, nil
}

// sources is Sources with all errors, and what could be read beside them.
func (r *Repository) sources(dir string) (all []Kustomization, errs []error) {
	file := path.Join(dir, "kustomization.yaml")
	content, err := r.read(file)
	if err != nil {
		return nil, []error{err}
	}
	k := Kustomization{File: file}
	if err := k.Unmarshal(content); err != nil {
		return nil, []error{&fileError{file: file, err: errors.New(oneLine(err))}}
	}
	if warnings := *k.CheckDeprecatedFields(); len(warnings) > 0 {
		text := strings.TrimPrefix(strings.Join(warnings, "; "), "# ")
		errs = append(errs, &fileError{file: file, err: errors.New(text), warning: true})
	}
	all = []Kustomization{k}
	entries := slices.Concat(k.Resources, k.Components)
	for _, p := range k.Patches {
		if p.Path != "" {
			entries = append(entries, p.Path)
		}
	}
	for _, entry := range entries {
		below, wrong := r.source(path.Join(dir, entry))
		all = append(all, below...)
		for _, err := range wrong {
			errs = append(errs, fmt.Errorf("%w (named by %s)", err, file))
		}
	}
	return all, errs
}

// source reads one entry of a kustomization: a directory like sources, a file
// for nothing but its errors.
func (r *Repository) source(entry string) ([]Kustomization, []error) {
	info, err := os.Stat(filepath.Join(r.root, entry))
	if err == nil && info.IsDir() {
		return r.sources(entry)
	}
	content, err := r.read(entry)
	if err != nil {
		return nil, []error{err}
	}
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		var content any // an object, or the list that a JSON patch is
		if err := yaml.UnmarshalStrict([]byte(document), &content); err != nil {
			return nil, []error{&fileError{file: entry, err: errors.New(oneLine(err))}}
		}
	}
	return nil, nil
}

// oneLine folds the lines of an error into one.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
