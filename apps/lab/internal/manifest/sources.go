package manifest

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// Kustomization is one kustomization.yaml that a rendering is made of.
type Kustomization struct {
	File string // relative to the checkout, with slashes
	types.Kustomization
}

// FileError says what is wrong with one file of the checkout.
type FileError struct {
	File    string // relative to the checkout, with slashes
	Err     error
	Warning bool // kustomize would only warn of it
}

func (e *FileError) Error() string { return e.File + ": " + e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }

// Sources returns the kustomizations that the one in dir, relative to the
// checkout, is made of, itself first.
//
// kustomize writes its warnings to standard error and carries on, and an error
// deep in a base reaches the caller as a chain of every directory on the way.
// Reading the sources first turns either into one error with the file's name.
func (r *Repository) Sources(dir string) ([]Kustomization, error) {
	all, errs := r.AllSources(dir)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return all, nil
}

// KustomizationFile returns the file of a directory that kustomize reads, relative to
// the checkout. kustomize knows three names, and refuses a directory with two of them.
func (r *Repository) KustomizationFile(dir string) (string, error) {
	var found []string
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if _, err := os.Stat(filepath.Join(r.root, dir, name)); err == nil {
			found = append(found, path.Join(dir, name))
		}
	}
	switch len(found) {
	case 0:
		return "", &FileError{File: path.Join(dir, konfig.DefaultKustomizationFileName()), Err: syscall.ENOENT}
	case 1:
		return found[0], nil
	}
	return "", &FileError{File: found[1], Err: fmt.Errorf("%s is there too, expected one of them", path.Base(found[0]))}
}

// AllSources is Sources with all errors, and what could be read beside them.
func (r *Repository) AllSources(dir string) (all []Kustomization, errs []error) {
	file, err := r.KustomizationFile(dir)
	if err != nil {
		return nil, []error{err}
	}
	content, err := r.Read(file)
	if err != nil {
		return nil, []error{err}
	}
	k := Kustomization{File: file}
	if err := k.Unmarshal(content); err != nil {
		return nil, []error{&FileError{File: file, Err: errors.New(OneLine(err))}}
	}
	if warnings := *k.CheckDeprecatedFields(); len(warnings) > 0 {
		text := strings.TrimPrefix(strings.Join(warnings, "; "), "# ")
		errs = append(errs, &FileError{File: file, Err: errors.New(text), Warning: true})
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

// source reads one entry of a kustomization: a directory like AllSources, a file
// for nothing but its errors.
func (r *Repository) source(entry string) ([]Kustomization, []error) {
	info, err := os.Stat(filepath.Join(r.root, entry))
	if err == nil && info.IsDir() {
		return r.AllSources(entry)
	}
	content, err := r.Read(entry)
	if err != nil {
		return nil, []error{err}
	}
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		var content any // an object, or the list that a JSON patch is
		if err := yaml.UnmarshalStrict([]byte(document), &content); err != nil {
			return nil, []error{&FileError{File: entry, Err: errors.New(OneLine(err))}}
		}
	}
	return nil, nil
}

// OneLine folds the lines of an error into one.
func OneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
