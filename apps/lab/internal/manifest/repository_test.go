package manifest_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

// The checkout is found from any directory in it, a nested module's too, and
// outside of one the error says what to do.
func TestFind(t *testing.T) {
	root := manifesttest.Checkout(t).Root()
	for _, dir := range []string{".", "overlays/dns", "apps/lab/components/ko"} {
		found, err := manifest.Find(filepath.Join(root, dir))
		if err != nil {
			t.Fatalf("Find(%q): %v", dir, err)
		}
		if found.Root() != root {
			t.Errorf("Find(%q) found %q, expected %q", dir, found.Root(), root)
		}
	}
	_, err := manifest.Find(t.TempDir())
	manifesttest.Rejected(t, err, "is not in a checkout of github.com/grpc-lb/grpc-lb: clone it")
}

// A name that neither a directory nor a variant has is one error that lists the names.
func TestUnknown(t *testing.T) {
	for _, name := range []string{"nope", "", "..", "l4/"} {
		_, err := manifesttest.Checkout(t).Render(name)
		var unknown *manifest.UnknownError
		if !errors.As(err, &unknown) {
			t.Fatalf("Render(%q): got error %v, expected an UnknownError", name, err)
		}
		for _, known := range manifesttest.All(t) {
			if !slices.Contains(unknown.Known, known) {
				t.Errorf("known overlays %v lack %s", unknown.Known, known)
			}
		}
		manifesttest.Rejected(t, err, strings.Join(unknown.Known, ", "))
	}
}

// A broken overlay is one line that names the file, and a warning of kubectl's
// is an error.
func TestBroken(t *testing.T) {
	const head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: grpc-lb-x\n"
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{
			name:  "no_kustomization",
			files: map[string]string{"overlays/x/README.md": ""},
			want:  "rendering overlays/x: overlays/x/kustomization.yaml: no such file or directory",
		},
		{
			name:  "not_yaml",
			files: map[string]string{"overlays/x/kustomization.yaml": head + "resources: ["},
			want:  "rendering overlays/x: overlays/x/kustomization.yaml: ",
		},
		{
			name:  "unknown_field",
			files: map[string]string{"overlays/x/kustomization.yaml": head + "resource: [../../base]"},
			want:  `overlays/x/kustomization.yaml: invalid Kustomization: json: unknown field "resource"`,
		},
		{
			name:  "warning",
			files: map[string]string{"overlays/x/kustomization.yaml": head + "bases: [../../base]"},
			want:  "overlays/x/kustomization.yaml: Warning: 'bases' is deprecated.",
		},
		{
			name: "warning_further_down",
			files: map[string]string{
				"overlays/x/kustomization.yaml":       head + "resources: [below]",
				"overlays/x/below/kustomization.yaml": "resources: [../../../base]\ncommonLabels: {a: b}",
			},
			want: "overlays/x/below/kustomization.yaml: Warning: 'commonLabels' is deprecated.",
		},
		{
			name:  "missing_resource",
			files: map[string]string{"overlays/x/kustomization.yaml": head + "resources: [nope.yaml]"},
			want:  "overlays/x/nope.yaml: no such file or directory (named by overlays/x/kustomization.yaml)",
		},
		{
			name:  "remote_resource",
			files: map[string]string{"overlays/x/kustomization.yaml": head + "resources: ['https://example.com/a.yaml']"},
			want:  "no such file or directory (named by overlays/x/kustomization.yaml)",
		},
		{
			name: "broken_resource",
			files: map[string]string{
				"overlays/x/kustomization.yaml": head + "resources: [role.yaml]",
				"overlays/x/role.yaml":          "kind: Role\n\tname: x\n",
			},
			want: "overlays/x/role.yaml: ",
		},
		{
			name: "missing_patch",
			files: map[string]string{
				"overlays/x/kustomization.yaml": head + "resources: [../../base]\npatches: [{path: a.patch.yaml}]",
			},
			want: "overlays/x/a.patch.yaml: no such file or directory (named by overlays/x/kustomization.yaml)",
		},
		{
			name: "patch_without_object",
			files: map[string]string{
				"overlays/x/kustomization.yaml": head + "resources: [../../base]\npatches: [{path: a.patch.yaml}]",
				"overlays/x/a.patch.yaml":       "apiVersion: v1\nkind: Service\nmetadata: {name: echo-servre}\n",
			},
			want: "no resource matches strategic merge patch \"Service.v1.[noGrp]/echo-servre.[noNs]\"",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			repository := manifesttest.Clone(t, test.files)
			_, err := repository.Render("x")
			manifesttest.Rejected(t, err, test.want)
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has more than one line: %q", err)
			}
			if err != nil && strings.Contains(err.Error(), repository.Root()) {
				t.Errorf("the error names a file by its whole path: %v", err)
			}
		})
	}
}
