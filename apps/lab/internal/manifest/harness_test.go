package manifest_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/experiment"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// checkout returns the checkout that the tests run in.
func checkout(t *testing.T) *manifest.Repository {
	t.Helper()
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	return repository
}

// names returns the overlays of this repository's strategies. Whoever adds a
// service of their own to overlays/ has its gate in `lab check`.
func names(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, name := range all(t) {
		if !slices.ContainsFunc(manifest.Variants, func(v manifest.Variant) bool { return v.Name == name }) {
			list = append(list, name)
		}
	}
	return list
}

// all returns names and the variants.
func all(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, s := range experiment.Strategies {
		list = append(list, s.Name)
	}
	slices.Sort(list)
	return list
}

// released returns an image of this repository as base names it: without and with
// what a release sets.
func released(t *testing.T, program string) (name, reference string) {
	t.Helper()
	images, err := checkout(t).Released()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range images {
		if i.Name != program {
			continue
		}
		reference = i.NewName + ":" + i.NewTag
		if i.Digest != "" {
			reference += "@" + i.Digest
		}
		return i.NewName, reference
	}
	t.Fatalf("base releases no %s", program)
	return "", ""
}

// tag returns the tag of the release.
func tag(t *testing.T) string {
	t.Helper()
	_, reference := released(t, "echo-server")
	_, tag, _ := manifest.SplitReference(reference)
	return tag
}

// render returns an overlay or a variant of the checkout as bytes.
func render(t *testing.T, name string) []byte {
	t.Helper()
	rendered, err := checkout(t).Render(name)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

func decode(t *testing.T, rendered []byte) []manifest.Object {
	t.Helper()
	objects, err := manifest.Decode(rendered)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// clone copies what overlays are made of into a directory of the test's own,
// with the given files, by path, on top.
func clone(t *testing.T, files map[string]string) *manifest.Repository {
	t.Helper()
	from, to := checkout(t).Root(), t.TempDir()
	for _, dir := range []string{"base", "overlays", "argocd"} {
		if err := os.CopyFS(filepath.Join(to, dir), os.DirFS(filepath.Join(from, dir))); err != nil {
			t.Fatal(err)
		}
	}
	write(t, to, "go.mod", "module github.com/grpc-lb/grpc-lb\n")
	for name, content := range files {
		write(t, to, name, content)
	}
	repository, err := manifest.Find(to)
	if err != nil {
		t.Fatal(err)
	}
	return repository
}

func write(t *testing.T, root, name, content string) {
	t.Helper()
	file := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// mutate replaces old, which must occur, by new.
func mutate(t *testing.T, rendered []byte, old, replacement string) []byte {
	t.Helper()
	if !strings.Contains(string(rendered), old) {
		t.Fatalf("the rendering holds no %q to mutate", old)
	}
	return []byte(strings.ReplaceAll(string(rendered), old, replacement))
}

// rejected fails the test unless err is an error that says want.
func rejected(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, expected one with %q", err, want)
	}
}
