// Package manifesttest gives tests the manifests of this checkout, and copies of it to
// change.
package manifesttest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// Checkout returns the checkout that the tests run in.
func Checkout(t *testing.T) *manifest.Repository {
	t.Helper()
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	return repository
}

// Names returns the overlays of this repository's strategies. An
// adopter's own service in overlays/ is left out: `lab check` judges it.
func Names(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, name := range All(t) {
		if !slices.ContainsFunc(manifest.Variants, func(v manifest.Variant) bool { return v.Name == name }) {
			list = append(list, name)
		}
	}
	return list
}

// All returns Names and the variants.
func All(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, s := range strategy.All() {
		list = append(list, s.Name)
	}
	slices.Sort(list)
	return list
}

// Released returns an image of this repository as base names it: without and with
// what a release sets.
func Released(t *testing.T, program string) (name, reference string) {
	t.Helper()
	images, err := release.Read(Checkout(t).Root())
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

// Tag returns the tag of the release.
func Tag(t *testing.T) string {
	t.Helper()
	_, reference := Released(t, "echo-server")
	_, tag, _ := manifest.SplitReference(reference)
	return tag
}

// Render returns an overlay or a variant of the checkout as bytes.
func Render(t *testing.T, name string) []byte {
	t.Helper()
	rendered, err := Checkout(t).Render(name)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

// Decode returns the objects of a rendering.
func Decode(t *testing.T, rendered []byte) []manifest.Object {
	t.Helper()
	objects, err := manifest.Decode(rendered)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// Clone copies what overlays are made of into a directory of the test's own,
// with the given files, by path, on top.
func Clone(t *testing.T, files map[string]string) *manifest.Repository {
	t.Helper()
	from, to := Checkout(t).Root(), t.TempDir()
	for _, dir := range []string{"base", "overlays", "argocd"} {
		if err := os.CopyFS(filepath.Join(to, dir), os.DirFS(filepath.Join(from, dir))); err != nil {
			t.Fatal(err)
		}
	}
	Write(t, to, "go.mod", "module github.com/grpc-lb/grpc-lb\n")
	for name, content := range files {
		Write(t, to, name, content)
	}
	repository, err := manifest.Find(to)
	if err != nil {
		t.Fatal(err)
	}
	return repository
}

// Write writes a file below root, and makes its directory.
func Write(t *testing.T, root, name, content string) {
	t.Helper()
	file := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Mutate replaces old, which must occur, by new.
func Mutate(t *testing.T, rendered []byte, old, replacement string) []byte {
	t.Helper()
	if !strings.Contains(string(rendered), old) {
		t.Fatalf("the rendering holds no %q to mutate", old)
	}
	return []byte(strings.ReplaceAll(string(rendered), old, replacement))
}

// Rejected fails the test unless err is an error that says want.
func Rejected(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, expected one with %q", err, want)
	}
}

// ByHand returns a variant's overlay as the READMEs tell a reader to change it:
// its kustomization with the components added.
func ByHand(t *testing.T, v manifest.Variant) map[string]string {
	t.Helper()
	file := "overlays/" + v.Overlay + "/kustomization.yaml"
	content, err := os.ReadFile(filepath.Join(Checkout(t).Root(), file))
	if err != nil {
		t.Fatal(err)
	}
	changed := string(content)
	if !strings.Contains(changed, "\ncomponents:\n") {
		changed += "components:\n"
	}
	before, after, _ := strings.Cut(changed, "\ncomponents:\n")
	before += "\ncomponents:\n"
	for strings.HasPrefix(after, "  - ") { // a component of the overlay's own comes first
		line, rest, _ := strings.Cut(after, "\n")
		before, after = before+line+"\n", rest
	}
	return map[string]string{file: before + Components(t, v, "  ") + after}
}

// Components returns the lines that add a variant's components to its overlay, each with that
// indentation.
func Components(t *testing.T, v manifest.Variant, indent string) string {
	t.Helper()
	var lines strings.Builder
	for _, c := range v.Components {
		relative, err := filepath.Rel(filepath.Join("overlays", v.Overlay), c)
		if err != nil {
			t.Fatal(err)
		}
		lines.WriteString(indent + "- " + filepath.ToSlash(relative) + "\n")
	}
	return lines.String()
}

// Pin returns the release with a digest for each image, no two the same.
func Pin(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(Checkout(t).Root(), release.Component))
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := release.SetImages(content, func(i types.Image) types.Image {
		i.Digest = Digest(i.Name)
		return i
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(pinned)
}

// Digest returns the digest of a text.
func Digest(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }
