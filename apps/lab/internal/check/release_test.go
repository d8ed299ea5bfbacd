package check_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/check"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
)

// released in two versions: the later is deployed, and its server is the same program.
func releasedTwice(t *testing.T) *manifest.Repository {
	t.Helper()
	repository := manifesttest.Clone(t, map[string]string{release.Digests: "{}\n"})
	for _, version := range []string{"v7.0.0", "v7.1.0"} {
		if _, err := release.Set(repository.Root(), release.Release{Tag: version, Digests: map[string]string{
			"echo-server": manifesttest.Digest("server"), "echo-client": manifesttest.Digest(version), "echo-client-xds": manifesttest.Digest("xds " + version),
		}}); err != nil {
			t.Fatal(err)
		}
	}
	return repository
}

// The rule knows a digest by the release and the program that it was recorded
// for, wherever a manifest has it from; it leaves alone what it does not know.
func TestRelease(t *testing.T) {
	client, _ := manifesttest.Released(t, "echo-client")
	server, _ := manifesttest.Released(t, "echo-server")
	xds, _ := manifesttest.Released(t, "echo-client-xds")
	const image = "container echo-client: image "
	for _, test := range []struct {
		name     string
		file     string // default the component
		old, new string
		want     []string // what the violations say
	}{
		{name: "as_released"},
		{
			// The server's digest is that of both releases.
			name: "tag_of_the_release_before", old: "newTag: v7.1.0", new: "newTag: v7.0.0",
			want: []string{image + xds + ":v7.0.0@" + manifesttest.Digest("xds v7.1.0") + " has the digest of v7.1.0", image + client + ":v7.0.0@" + manifesttest.Digest("v7.1.0") + " has the digest of v7.1.0"},
		},
		{
			name: "digest_of_the_release_before", old: manifesttest.Digest("xds v7.1.0"), new: manifesttest.Digest("xds v7.0.0"),
			want: []string{image + xds + ":v7.1.0@" + manifesttest.Digest("xds v7.0.0") + " has the digest of v7.0.0"},
		},
		{
			name: "digest_of_another_program", old: manifesttest.Digest("v7.1.0"), new: manifesttest.Digest("server"),
			want: []string{image + client + ":v7.1.0@" + manifesttest.Digest("server") + " has the digest of echo-server v7.0.0, v7.1.0"},
		},
		{
			name: "name_of_a_program_of_others", old: "newName: " + client + "\n", new: "newName: ghcr.io/me/shop\n",
			want: []string{image + "ghcr.io/me/shop:v7.1.0@" + manifesttest.Digest("v7.1.0") + " has the digest of echo-client v7.1.0"},
		},
		{
			name: "digest_of_nothing_recorded", old: manifesttest.Digest("v7.1.0"), new: manifesttest.Digest("another"),
			want: []string{image + client + ":v7.1.0@" + manifesttest.Digest("another") + " has another digest than " + manifesttest.Digest("v7.1.0") + ", which is recorded for v7.1.0"},
		},
		{
			name: "one_behind", old: "newTag: v7.1.0\n    digest: " + manifesttest.Digest("xds v7.1.0"), new: "newTag: v7.0.0\n    digest: " + manifesttest.Digest("xds v7.0.0"),
			want: []string{`image echo-client-xds has tag "v7.0.0", echo-server has "v7.1.0"`},
		},
		{
			name: "next_tag_by_hand", old: "newTag: v7.1.0\n    digest: " + manifesttest.Digest("server"), new: "newTag: v7.2.0\n    digest: " + manifesttest.Digest("server"),
			want: []string{
				"container echo-server: image " + server + ":v7.2.0@" + manifesttest.Digest("server") + " has the digest of v7.0.0, v7.1.0",
				`image echo-client has tag "v7.1.0", echo-server has "v7.2.0"`, `image echo-client-xds has tag "v7.1.0", echo-server has "v7.2.0"`,
			},
		},
		{
			name: "by_the_tag_alone", old: "    digest: " + manifesttest.Digest("v7.1.0") + "\n", new: "",
			want: []string{image + client + ":v7.1.0 has no digest, and v7.1.0 is recorded with " + manifesttest.Digest("v7.1.0")},
		},
		{
			name: "another_registry", old: "newName: " + client + "\n", new: "newName: ghcr.io/me/echo-client\n",
			want: []string{"image echo-client comes from ghcr.io/me, echo-server from "},
		},
		{
			name: "digest_in_a_manifest", file: "overlays/linkerd/l5d/daemonset.yaml", old: "linkerd:1.7.5", new: "linkerd@" + manifesttest.Digest("server"),
			want: []string{"container l5d: image ", "has the digest of echo-server v7.0.0, v7.1.0"},
		},
		{name: "digest_of_others", file: "overlays/linkerd/l5d/daemonset.yaml", old: "linkerd:1.7.5", new: "linkerd:1.7.5@" + manifesttest.Digest("l5d")},
		{name: "record_is_no_yaml", file: release.Digests, old: "v7.0.0:\n", new: "v7.0.0: [\n", want: []string{release.Digests}},
	} {
		t.Run(test.name, func(t *testing.T) {
			repository := releasedTwice(t)
			if test.file == "" {
				test.file = release.Component
			}
			content, err := os.ReadFile(filepath.Join(repository.Root(), test.file))
			if err != nil {
				t.Fatal(err)
			}
			manifesttest.Write(t, repository.Root(), test.file, string(manifesttest.Mutate(t, content, test.old, test.new)))
			violations, err := check.Checkout(repository, "l4", "xds", "linkerd")
			if err != nil {
				t.Fatal(err)
			}
			found := lines(violations, "release")
			for _, want := range test.want {
				if !strings.Contains(found, want) {
					t.Errorf("found %q, expected %q", found, want)
				}
			}
			if test.want == nil && found != "" {
				t.Errorf("found %q, expected nothing", found)
			}
			if want := fmt.Sprintf("%s: ", test.file); test.want != nil && !strings.HasPrefix(found, want) {
				t.Errorf("found %q, expected it in %s", found, test.file)
			}
		})
	}
}

// An overlay that renames an image does not keep the digest of the one before.
func TestRenamedImage(t *testing.T) {
	server, _ := manifesttest.Released(t, "echo-server")
	for _, test := range []struct{ name, digest, want string }{
		{name: "own_digest", digest: ", digest: '" + manifesttest.Digest("shop") + "'"},
		{name: "digest_of_base", want: "image ghcr.io/me/shop would keep the digest that " + release.Component + " sets for " + server},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, err := check.Checkout(manifesttest.Clone(t, map[string]string{
				release.Component:               manifesttest.Pin(t),
				"overlays/x/kustomization.yaml": "namespace: grpc-lb-x\nresources: [../../base]\nimages: [{name: " + server + ", newName: ghcr.io/me/shop" + test.digest + "}]\n",
			}), "x")
			if err != nil {
				t.Fatal(err)
			}
			if got := lines(found, "image-once"); !strings.Contains(got, test.want) || test.want == "" && got != "" {
				t.Errorf("found %q, expected %q", got, test.want)
			}
		})
	}
}

// References are cut at their tag, not at a port, and at their digest.
func TestSplitReference(t *testing.T) {
	for reference, want := range map[string][3]string{
		"a/b:1":           {"a/b", "1", ""},
		"a/b":             {"a/b", "", ""},
		"host:5000/b":     {"host:5000/b", "", ""},
		"host:5000/b:1":   {"host:5000/b", "1", ""},
		"a/b@sha256:00":   {"a/b", "", "sha256:00"},
		"a/b:1@sha256:00": {"a/b", "1", "sha256:00"},
	} {
		name, tag, digest := manifest.SplitReference(reference)
		if diff := cmp.Diff(want, [3]string{name, tag, digest}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reference, diff)
		}
	}
}
