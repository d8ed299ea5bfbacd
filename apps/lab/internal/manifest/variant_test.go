package manifest_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

// A variant is its overlay with the components added by hand, in a namespace of
// its own, as the library and as kubectl render it, and a README says how to add
// them.
func TestVariantsAreMadeByHand(t *testing.T) {
	program := kubectl(t)
	for _, v := range manifest.Variants {
		t.Run(v.Name, func(t *testing.T) {
			repository := manifesttest.Clone(t, manifesttest.ByHand(t, v))
			got := strings.ReplaceAll(string(manifesttest.Render(t, v.Name)), manifest.Namespace(v.Name), manifest.Namespace(v.Overlay))
			library, err := repository.Render(v.Overlay)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(library), got); diff != "" {
				t.Errorf("(-by hand +variant):\n%s", diff)
			}
			var stderr bytes.Buffer
			command := exec.Command(program, "kustomize", filepath.Join(repository.Root(), "overlays", v.Overlay))
			command.Stderr = &stderr
			want, err := command.Output()
			if err != nil || stderr.Len() > 0 {
				t.Fatalf("kubectl kustomize: %v\n%s", err, &stderr)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-kubectl by hand +variant):\n%s", diff)
			}
			page := filepath.Join("overlays", v.Overlay, "README.md")
			if v.Asked { // all of them are of one kind
				page = "overlays/README.md"
			}
			readme, err := os.ReadFile(filepath.Join(manifesttest.Checkout(t).Root(), page))
			if err != nil {
				t.Fatal(err)
			}
			lines := "    components:\n" + manifesttest.Components(t, v, "      ")
			if !strings.Contains(string(readme), lines) {
				t.Errorf("%s does not say\n%s", page, lines)
			}
		})
	}
}

// max-connection-age changes nothing but echo-server's arguments, to which it
// appends two.
func TestMaxConnectionAge(t *testing.T) {
	for _, v := range manifest.Variants {
		if !slices.Equal(v.Components, []string{"base/components/max-connection-age"}) {
			continue
		}
		plain, aged := manifesttest.Render(t, v.Overlay), manifesttest.Render(t, v.Name)
		differences, err := manifest.DifferencesInKind(plain, aged)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"Deployment/echo-server differs"}, differences); diff != "" {
			t.Errorf("%s differs from %s (-want +got):\n%s", v.Name, v.Overlay, diff)
		}
		plain = manifesttest.Mutate(t, plain, "- --drain-timeout=20s\n", "- --drain-timeout=20s\n        - --max-connection-age=10s\n        - --max-connection-age-grace=10s\n")
		plain = manifesttest.Mutate(t, plain, manifest.Namespace(v.Overlay), manifest.Namespace(v.Name))
		if diff := cmp.Diff(string(plain), string(aged)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", v.Name, diff)
		}
	}
}

// List has only what is on disk, an overlay of each strategy at least; All has the
// variants after it.
func TestAll(t *testing.T) {
	want, err := manifesttest.Checkout(t).List()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range manifesttest.Names(t) {
		if !slices.Contains(want, name) {
			t.Errorf("there is no overlays/%s", name)
		}
	}
	for _, v := range manifest.Variants {
		if slices.Contains(want, v.Name) {
			t.Errorf("%s is a variant and an overlay", v.Name)
		}
		want = append(want, v.Name)
	}
	got, err := manifesttest.Checkout(t).All()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("All (-want +got):\n%s", diff)
	}
}

// Usual is All without what a run takes only if somebody asks for it.
func TestUsual(t *testing.T) {
	all, err := manifesttest.Checkout(t).All()
	if err != nil {
		t.Fatal(err)
	}
	usual, err := manifesttest.Checkout(t).Usual()
	if err != nil {
		t.Fatal(err)
	}
	asked := slices.DeleteFunc(all, func(name string) bool { return slices.Contains(usual, name) })
	if diff := cmp.Diff([]string{"l4-tls", "dns-tls", "k8s-api-tls", "envoy-tls"}, asked); diff != "" {
		t.Errorf("not usual (-want +got):\n%s", diff)
	}
}

// A broken component is one line that names the file.
func TestVariantBroken(t *testing.T) {
	for _, test := range []struct{ name, file, content, want string }{
		{name: "warning", file: "kustomization.yaml", content: "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonLabels: {a: b}\n", want: "rendering l4-max-age: base/components/max-connection-age/kustomization.yaml: Warning: 'commonLabels' is deprecated."},
		{name: "patch_not_yaml", file: "echo-server.json.patch.yaml", content: "- op: [\n", want: "base/components/max-connection-age/echo-server.json.patch.yaml: "},
		{name: "patch_of_no_path", file: "echo-server.json.patch.yaml", content: "- {op: add, path: /spec/nope/-, value: x}\n", want: "rendering l4-max-age: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := manifesttest.Clone(t, map[string]string{"base/components/max-connection-age/" + test.file: test.content}).Render("l4-max-age")
			manifesttest.Rejected(t, err, test.want)
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has more than one line: %q", err)
			}
		})
	}
}
