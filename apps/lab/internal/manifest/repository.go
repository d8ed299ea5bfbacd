package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// modulePath tells this repository's go.mod from those of the modules nested in it.
const modulePath = "github.com/grpc-lb/grpc-lb"

// NamespacePrefix and the name of an overlay or a variant make its namespace and the name of its
// Application.
const NamespacePrefix = "grpc-lb-"

// Namespace returns the namespace of the named overlay or variant.
func Namespace(name string) string { return NamespacePrefix + name }

// Repository is a checkout of this repository. It renders each overlay once, so that
// everything that one command prints is about the same files.
type Repository struct {
	root     string
	mu       sync.Mutex
	rendered map[string][]byte // by overlay or variant; guarded by mu
}

// Find returns the checkout that dir lies in.
func Find(dir string) (*Repository, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("manifest: finding the checkout around %q: %w", dir, err)
	}
	for at := abs; ; at = filepath.Dir(at) {
		gomod, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && declares(gomod, modulePath) {
			return &Repository{root: at, rendered: map[string][]byte{}}, nil
		}
		if at == filepath.Dir(at) {
			return nil, fmt.Errorf("manifest: %s is not in a checkout of %s: clone it and run this inside the clone", abs, modulePath)
		}
	}
}

func declares(gomod []byte, module string) bool {
	for line := range bytes.Lines(gomod) {
		if strings.TrimSpace(string(line)) == "module "+module {
			return true
		}
	}
	return false
}

// Root returns the checkout's directory, an absolute path.
func (r *Repository) Root() string { return r.root }

// List returns the names of the overlays, sorted.
func (r *Repository) List() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(r.root, "overlays"))
	if err != nil {
		return nil, fmt.Errorf("manifest: listing overlays: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// All returns the names of the overlays and, after them, those of the variants.
func (r *Repository) All() ([]string, error) {
	names, err := r.List()
	if err != nil {
		return nil, err
	}
	for _, v := range Variants {
		names = append(names, v.Name)
	}
	return names, nil
}

// Usual returns All without the variants that a run takes only if somebody asks for them.
func (r *Repository) Usual() ([]string, error) {
	names, err := r.All()
	return slices.DeleteFunc(names, IsAsked), err
}

// Checked returns what Check judges when it is given no name: the overlays, and
// the variants of those.
func (r *Repository) Checked() ([]string, error) {
	names, err := r.List()
	if err != nil {
		return nil, err
	}
	overlays := names
	for _, v := range Variants {
		if slices.Contains(overlays, v.Overlay) {
			names = append(names, v.Name)
		}
	}
	return names, nil
}

// UnknownError says that a checkout has no overlay, and this package no variant,
// of the given name.
type UnknownError struct {
	Name  string   // what was asked for
	Known []string // what there is
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("overlay %q does not exist: this checkout has %s", e.Name, strings.Join(e.Known, ", "))
}

// Read returns a file of the checkout. Its errors name the file as a reader of
// the repository knows it.
func (r *Repository) Read(file string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(r.root, file))
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, &FileError{File: file, Err: pathErr.Err}
	}
	return b, err
}
