package manifest_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

// derived compares a file of the checkout with the content that other files
// determine. With -update it writes the content instead.
func derived(t *testing.T, file, want string) {
	t.Helper()
	file = filepath.Join(manifesttest.Checkout(t).Root(), file)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s (-want +got), `go generate ./apps/lab/...` writes it:\n%s", filepath.Base(file), diff)
	}
}

// The Application of each strategy is that of l4 with other names, so that a
// change of all Applications is made in argocd/l4.yaml alone.
func TestApplications(t *testing.T) {
	repository := manifesttest.Checkout(t)
	template, err := os.ReadFile(filepath.Join(repository.Root(), "argocd/l4.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range manifesttest.Names(t) {
		derived(t, "argocd/"+name+".yaml", application(t, string(template), name))
	}
}

// application returns the Application of an overlay in place of l4's.
func application(t *testing.T, template, name string) string {
	t.Helper()
	server := func(overlay string) string {
		d, ok := manifest.Component(manifesttest.Decode(t, manifesttest.Render(t, overlay)), manifest.Server)
		if !ok {
			t.Fatalf("overlays/%s has no server", overlay)
		}
		return "name: " + d.Name + "\n"
	}
	for _, names := range [][2]string{
		{manifest.Namespace("l4") + "\n", manifest.Namespace(name) + "\n"},
		{"overlays/l4", "overlays/" + name},
		{server("l4"), server(name)},
	} {
		template = string(manifesttest.Mutate(t, []byte(template), names[0], names[1]))
	}
	return template
}

// argocd/kustomization.yaml lists the Application of every overlay.
func TestApplicationsAreListed(t *testing.T) {
	repository := manifesttest.Checkout(t)
	overlays, err := repository.List()
	if err != nil {
		t.Fatal(err)
	}
	const file, end = "argocd/kustomization.yaml", "replacements:\n"
	content, err := os.ReadFile(filepath.Join(repository.Root(), file))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(content), end)
	if !ok {
		t.Fatalf("%s has no %q", file, end)
	}
	head, _, ok = strings.Cut(head, "  - project.yaml\n")
	if !ok {
		t.Fatalf("%s does not list project.yaml first", file)
	}
	for _, name := range slices.Concat([]string{"project", "repository"}, overlays) {
		head += "  - " + name + ".yaml\n"
	}
	derived(t, file, head+end+rest)
}
