package manifest_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
)

var update = flag.Bool("update", false, "write the goldens")

// What each overlay and each variant renders, reviewed in the diff of a change.
// Goldens name this repository's images as base's Deployments do: a release
// changes none.
func TestGolden(t *testing.T) {
	known := map[string]bool{}
	var plain []string
	for _, program := range []string{"echo-client-xds", "echo-client", "echo-server"} {
		_, reference := manifesttest.Released(t, program)
		plain = append(plain, "image: "+reference+"\n", "image: "+program+"\n")
	}
	for _, name := range manifesttest.All(t) {
		file := filepath.Join("testdata", "golden", name+".yaml")
		known[file] = true
		got := []byte(strings.NewReplacer(plain...).Replace(string(manifesttest.Render(t, name))))
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("%v: run go test -run TestGolden -update", err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got), go test -run TestGolden -update accepts it:\n%s", name, diff)
		}
	}
	files, err := filepath.Glob("testdata/golden/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !known[file] {
			t.Errorf("%s has no overlay", file)
		}
	}
}

// The library renders every overlay, and Argo CD's files, as every kustomize at
// hand does, from the oldest kubectl's and Argo CD's to the newest, and none
// warns of anything.
func TestKustomize(t *testing.T) {
	repository := manifesttest.Checkout(t)
	dirs := []string{"argocd"}
	for _, name := range manifesttest.Names(t) {
		dirs = append(dirs, "overlays/"+name)
	}
	programs := [][]string{{kubectl(t), "kustomize"}}
	version, err := exec.Command(programs[0][0], "version", "--client").CombinedOutput()
	t.Logf("%v %s", err, bytes.Join(bytes.Fields(version), []byte(" ")))
	if program := os.Getenv("LAB_KUBECTL"); program != "" {
		programs = append(programs, []string{program, "kustomize"})
	}
	for _, module := range []string{"kustomize/v5.5.0", "kustomize/v5.7.0", "kustomize"} {
		programs = append(programs, []string{kustomize(t, module), "build"})
	}
	for _, program := range programs {
		for _, dir := range dirs {
			var stderr bytes.Buffer
			command := exec.Command(program[0], program[1], dir)
			command.Dir, command.Stderr = repository.Root(), &stderr
			want, err := command.Output()
			if err != nil || stderr.Len() > 0 {
				t.Fatalf("%s %s: %v\n%s", program, dir, err, &stderr)
			}
			got, err := repository.RenderDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s (-%s +library):\n%s", dir, program, diff)
			}
		}
	}
}

// kustomize builds the CLI that a nested module pins: half a minute each the
// first time, from then on out of Go's build cache.
func kustomize(t *testing.T, module string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "kustomize")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "sigs.k8s.io/kustomize/kustomize/v5")
	build.Dir = filepath.Join(manifesttest.Checkout(t).Root(), "apps/lab/components", module)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", module, err, out)
	}
	return program
}

// kubectl returns a kubectl: the machine's, else LAB_KUBECTL, else one built
// from the pinned Kubernetes.
func kubectl(t *testing.T) string {
	t.Helper()
	if program, err := exec.LookPath("kubectl"); err == nil {
		return program
	}
	if program := os.Getenv("LAB_KUBECTL"); program != "" {
		return program
	}
	program := filepath.Join(t.TempDir(), "kubectl")
	build := exec.Command("go", "build", "-o", program, "k8s.io/kubernetes/cmd/kubectl")
	build.Dir = filepath.Join(manifesttest.Checkout(t).Root(), "apps/lab/components/kubernetes")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("no kubectl on PATH or in LAB_KUBECTL, and building one failed: install kubectl. %v\n%s", err, out)
	}
	return program
}

// All overlays in one process; the goal is 300 ms.
func BenchmarkRender(b *testing.B) {
	repository, err := manifest.Find(".")
	if err != nil {
		b.Fatal(err)
	}
	list, err := repository.List()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, name := range list {
			if _, err := repository.Render(name); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// Other images reach every container of that name, whatever base pins, and a
// name that matches nothing is refused.
func TestRenderWithImages(t *testing.T) {
	server, serverNow := manifesttest.Released(t, "echo-server")
	client, clientNow := manifesttest.Released(t, "echo-client")
	tests := []struct {
		name    string
		overlay string
		files   map[string]string
		images  map[string]string
		want    []string // the containers' images, in order
		err     string
	}{
		{
			name:    "tag",
			overlay: "l4",
			images:  map[string]string{server: server + ":lab-1", client: client + ":lab-2"},
			want:    []string{client + ":lab-2", server + ":lab-1"},
		},
		{
			name:    "other_registry_with_port",
			overlay: "dns",
			images:  map[string]string{server: "localhost:5000/s:1"},
			want:    []string{clientNow, "localhost:5000/s:1"},
		},
		{
			name:    "digest",
			overlay: "k8s-api",
			images:  map[string]string{client: client + "@sha256:" + strings.Repeat("b", 64)},
			want:    []string{client + "@sha256:" + strings.Repeat("b", 64), serverNow},
		},
		{
			name:    "base_pins_a_digest",
			overlay: "l4",
			files:   map[string]string{release.Component: manifesttest.Pin(t)},
			images:  map[string]string{server: server + ":lab", client: client + ":lab"},
			want:    []string{client + ":lab", server + ":lab"},
		},
		{
			name:    "another_program",
			overlay: "linkerd",
			images:  map[string]string{"docker.io/buoyantio/linkerd": "lab.local/l5d:1"},
			want:    []string{clientNow, serverNow, "lab.local/l5d:1", "registry.k8s.io/kubectl:v1.37.2"},
		},
		{
			name:    "from_another_name_than_base",
			overlay: "xds",
			images:  map[string]string{client + "-xds": client + "-xds:lab", server: server + ":lab"},
			want:    []string{client + "-xds:lab", server + ":lab"},
		},
		{
			name:    "variant",
			overlay: "dns-max-age",
			images:  map[string]string{server: server + ":lab"},
			want:    []string{clientNow, server + ":lab"},
		},
		{
			name:    "matches_nothing_in_variant",
			overlay: "l4-max-age",
			images:  map[string]string{client + "-xds": client + ":lab"},
			err:     `no container has an image named "` + client + `-xds"`,
		},
		{
			name:    "name_of_base_in_xds",
			overlay: "xds",
			images:  map[string]string{client: client + ":lab"},
			err:     `no container has an image named "` + client + `"`,
		},
		{
			name:    "matches_nothing",
			overlay: "l4",
			images:  map[string]string{"echo-server": "lab.local/echo-server:1"},
			err:     `no container has an image named "echo-server": it has ` + clientNow + ", " + serverNow,
		},
		{
			name:    "neither_tag_nor_digest",
			overlay: "l4",
			images:  map[string]string{server: "localhost:5000/echo-server"},
			err:     `image "localhost:5000/echo-server" has neither tag nor digest`,
		},
		{
			name:    "unknown_overlay",
			overlay: "nope",
			err:     `overlay "nope" does not exist`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			repository := manifesttest.Clone(t, test.files)
			out, err := repository.RenderWithImages(test.overlay, test.images)
			if test.err != "" {
				manifesttest.Rejected(t, err, test.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, images(out)); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
			plain, err := repository.Render(test.overlay)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(withoutImages(plain), withoutImages(out)); diff != "" {
				t.Errorf("beside images (-plain +with images):\n%s", diff)
			}
		})
	}
}

// Images are those of init containers too, sorted, each once; what cannot be
// decoded is an error.
func TestImages(t *testing.T) {
	_, server := manifesttest.Released(t, "echo-server")
	_, client := manifesttest.Released(t, "echo-client")
	initContainer := "      initContainers:\n      - name: first\n        image: a:1\n      - name: second\n        image: " + server + "\n      containers:\n"
	got, err := manifest.Images(manifesttest.Mutate(t, manifesttest.Render(t, "linkerd"), "      containers:\n", initContainer))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a:1", "docker.io/buoyantio/linkerd:1.7.5", client, server, "registry.k8s.io/kubectl:v1.37.2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	_, err = manifest.Images([]byte("kind: ["))
	manifesttest.Rejected(t, err, "manifest: decoding object 1")
}

var image = regexp.MustCompile(`(?m)^ +(?:- )?image: (.+)$`)

func images(rendered []byte) []string {
	var all []string
	for _, match := range image.FindAllSubmatch(rendered, -1) {
		all = append(all, string(match[1]))
	}
	return all
}

func withoutImages(rendered []byte) string {
	return image.ReplaceAllString(string(rendered), "")
}
