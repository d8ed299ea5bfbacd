package image_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
)

func TestParseRegistry(t *testing.T) {
	for _, test := range []struct{ flag, want, wantErr string }{
		{flag: "ghcr.io/me/lab", want: "ghcr.io/me/lab"},
		{flag: "localhost/lab", want: "localhost/lab"},
		{flag: "127.0.0.1:5000/lab", want: "127.0.0.1:5000/lab"},
		{flag: "ghcr.io", wantErr: "it has no path"},
		{flag: "ghcr.io/", wantErr: "it has no path"},
		{flag: "me/lab", wantErr: `"me" is no host`},
		{flag: "https://ghcr.io/me", wantErr: "want HOST/PATH"},
		{flag: "ghcr.io/Me", wantErr: "want HOST/PATH"},
		{flag: "", wantErr: "it has no path"},
	} {
		t.Run(test.flag, func(t *testing.T) {
			r, err := image.ParseRegistry(test.flag)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Errorf("error %v, want %q", err, test.wantErr)
				}
				return
			}
			if err != nil || r.String() != test.want {
				t.Errorf("registry %s, %v; want %s", r, err, test.want)
			}
		})
	}
}

// An image keeps its path, so that two of one last name do not meet.
func TestRegistryRef(t *testing.T) {
	r, err := image.ParseRegistry("ghcr.io/me/lab")
	if err != nil {
		t.Fatal(err)
	}
	digest := "@sha256:" + strings.Repeat("0", 64)
	for ref, want := range map[string]string{
		"lab.local/echo-server:1":        "ghcr.io/me/lab/echo-server:1",
		"buoyantio/linkerd:1.7.5":        "ghcr.io/me/lab/buoyantio/linkerd:1.7.5",
		"registry.k8s.io/kubectl:v1":     "ghcr.io/me/lab/kubectl:v1",
		"lab.local/echo-server" + digest: "ghcr.io/me/lab/echo-server" + digest,
	} {
		if got, err := r.Ref(ref); err != nil || got != want {
			t.Errorf("Ref(%s) = %s, %v; want %s", ref, got, err, want)
		}
	}
	if _, err := r.Ref("echo-server"); err == nil {
		t.Error("a reference without a tag passes")
	}
}

func packed(t *testing.T) string {
	t.Helper()
	archive, program := filepath.Join(t.TempDir(), "two.tar"), write(t, "program", "#!")
	var images []image.Image
	for _, ref := range []string{"lab.local/echo-server:1", "docker.io/envoyproxy/envoy:2"} {
		images = append(images, image.Image{Ref: ref, Files: map[string]string{"/program": program}, Entrypoint: []string{"/program"}})
	}
	if err := image.Pack(archive, images...); err != nil {
		t.Fatal(err)
	}
	return archive
}

// What is pushed is there under the registry's names, and Check finds just what is
// not.
func TestPushAndCheck(t *testing.T) {
	host, _ := serve(t, nil)
	archive := packed(t)
	r, err := image.ParseRegistry(host + "/lab")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.CheckPush(t.Context()); err != nil {
		t.Errorf("CheckPush = %v, want none", err)
	}
	err = r.Check(t.Context(), archive)
	if err == nil || !strings.Contains(err.Error(), "has no "+host+"/lab/echo-server:1, "+host+"/lab/envoyproxy/envoy:2: ") || !strings.Contains(err.Error(), "--push") {
		t.Errorf("Check of an empty registry = %v, want both names and --push", err)
	}
	if err := r.Push(t.Context(), func(string) {}, archive); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context(), archive); err != nil {
		t.Errorf("Check = %v after Push, want none", err)
	}
	tag, err := name.NewTag(host + "/lab/envoyproxy/envoy:2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Image(tag); err != nil {
		t.Errorf("pulling it back: %v", err)
	}
}

// Images of one name for nodes of two architectures become one index, of which each
// node gets its own; where the registry has them for one alone, Check says so.
func TestPushForTwoArchitectures(t *testing.T) {
	host, _ := serve(t, nil)
	r, err := image.ParseRegistry(host + "/lab")
	if err != nil {
		t.Fatal(err)
	}
	var archives []string
	program := write(t, "program", "#!")
	for _, arch := range []string{"amd64", "arm64"} {
		archive := filepath.Join(t.TempDir(), arch+".tar")
		err := image.Pack(archive, image.Image{Ref: "lab.local/echo-server:1", Arch: arch, Files: map[string]string{"/program": program}, Entrypoint: []string{"/program"}})
		if err != nil {
			t.Fatal(err)
		}
		archives = append(archives, archive)
	}
	silent := func(string) {}
	if err := r.Push(t.Context(), silent, archives[0]); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context(), archives...); err == nil || !strings.Contains(err.Error(), "has no "+host+"/lab/echo-server:1 for linux/arm64: ") {
		t.Errorf("Check = %v, want that the image for arm64 is missing", err)
	}
	if err := r.Push(t.Context(), silent, archives...); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context(), archives...); err != nil {
		t.Errorf("Check = %v, want none", err)
	}
	tag, err := name.NewTag(host + "/lab/echo-server:1")
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := remote.Image(tag, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
		if err != nil {
			t.Fatal(err)
		}
		if config, err := img.ConfigFile(); err != nil || config.Architecture != arch {
			t.Errorf("a node of %s gets an image for %+v, %v", arch, config, err)
		}
	}
}

// A registry that refuses is an error of one line that says what to do; one that
// does not answer at all is told apart.
func TestPushRefused(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	archive := packed(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer server.Close()
	refusing := strings.TrimPrefix(server.URL, "http://")
	r, err := image.ParseRegistry(refusing + "/lab")
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"CheckPush": r.CheckPush(t.Context()), "Push": r.Push(t.Context(), func(string) {}, archive), "Check": r.Check(t.Context(), archive)} {
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "403") || errors.Is(err, image.ErrUnreachable) {
			t.Errorf("%s = %v, want a line with 403", what, err)
		}
	}
	if err := r.CheckPush(t.Context()); !strings.Contains(err.Error(), "docker login "+refusing) {
		t.Errorf("CheckPush = %v, want `docker login`", err)
	}
	closed, err := image.ParseRegistry("127.0.0.1:1/lab")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Check(t.Context(), archive); !errors.Is(err, image.ErrUnreachable) {
		t.Errorf("Check of a closed port = %v, want ErrUnreachable", err)
	}
}
