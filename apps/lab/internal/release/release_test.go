package release_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
)

// component has comments, quotes and blank lines, all of which stay.
const component = `# Why.
kind: Component # a comment

images:
- name: a   # of the server
  newName: ghcr.io/x/a
  newTag: "1.9" # quoted
  # between

- newTag:   v0.1.0
  name: b
  newName: 'ghcr.io/x/b'
patches: []
`

func one(digit string) string { return "sha256:" + strings.Repeat(digit, 64) }

// checkout has the component and what names the repository.
func checkout(t *testing.T, content string) string {
	t.Helper()
	root := t.TempDir()
	for file, text := range map[string]string{
		release.Component:        content,
		"argocd/repository.yaml": "data: # of a fork\n  url: https://example.com/a.git # here\n  revision: main\n",
		"argocd/root.yaml":       "# Root.\nspec: # of main\n  sourceRepos:\n    - https://example.com/a.git\n---\nspec:\n  source:\n    repoURL: https://example.com/a.git\n    path: argocd\n    targetRevision: main\n",
	} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func read(t *testing.T, root, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func set(t *testing.T, root string, r release.Release) {
	t.Helper()
	if _, err := release.Set(root, r); err != nil {
		t.Fatal(err)
	}
}

// A release changes its values, adds the lines of digests that were not there,
// and no other byte; done again it changes nothing, and a later one replaces it.
// The record keeps both.
func TestSet(t *testing.T) {
	root := checkout(t, component)
	first := release.Release{Registry: "ghcr.io/y", Tag: "v0.2.0", Digests: map[string]string{"a": one("a"), "b": one("b")}}
	const want = `# Why.
kind: Component # a comment

images:
- name: a   # of the server
  newName: ghcr.io/y/a
  newTag: v0.2.0 # quoted
  digest: sha256:A
  # between

- newTag:   v0.2.0
  digest: sha256:B
  name: b
  newName: ghcr.io/y/b
patches: []
`
	expected := strings.NewReplacer("sha256:A", one("a"), "sha256:B", one("b"))
	for range 2 {
		set(t, root, first)
		if diff := cmp.Diff(expected.Replace(want), read(t, root, release.Component)); diff != "" {
			t.Errorf("component (-want +got):\n%s", diff)
		}
	}
	set(t, root, release.Release{Tag: "1.10", Digests: map[string]string{"a": one("a"), "b": one("c")}})
	later := strings.NewReplacer("v0.2.0", `"1.10"`, one("b"), one("c")).Replace(expected.Replace(want))
	if diff := cmp.Diff(later, read(t, root, release.Component)); diff != "" {
		t.Errorf("component of the later release (-want +got):\n%s", diff)
	}
	record, err := release.ReadRecord(root)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(release.Record{"v0.2.0": first.Digests, "1.10": {"a": one("a"), "b": one("c")}}, record); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	// Moved in a fork that releases the tag anew.
	first.Digests = map[string]string{"a": one("d"), "b": one("e")}
	if replaced, err := release.Set(root, first); err != nil || !slices.Equal(replaced, []string{"a", "b"}) {
		t.Errorf("replaced %q, %v, want both", replaced, err)
	}
	if record, err = release.ReadRecord(root); err != nil || record["v0.2.0"]["a"] != one("d") {
		t.Errorf("record %v, %v: want the tag's new digests", record, err)
	}
}

// What is no release is refused in words, and nothing is changed.
func TestSetRefuses(t *testing.T) {
	whole := map[string]string{"a": one("a"), "b": one("b")}
	for _, test := range []struct {
		name    string
		content string // default component
		release release.Release
		want    string
	}{
		{name: "no_tag", release: release.Release{Digests: whole}, want: `tag "": expected one of a release, such as v0.2.0`},
		{name: "latest", release: release.Release{Tag: "latest", Digests: whole}, want: `tag "latest"`},
		{name: "tag_with_a_slash", release: release.Release{Tag: "a/b", Digests: whole}, want: `tag "a/b"`},
		{name: "one_missing", release: release.Release{Tag: "v1", Digests: map[string]string{"a": one("a")}}, want: "no digest of b: a release sets all of a, b"},
		{name: "all_missing", release: release.Release{Tag: "v1"}, want: "no digest of a, b"},
		{name: "one_unknown", release: release.Release{Tag: "v1", Digests: map[string]string{"a": one("a"), "b": one("b"), "c": one("c")}}, want: `no program "c": expected a, b`},
		{name: "in_braces", content: "images: [{name: a, newName: x, newTag: v0}, {name: b, newName: x, newTag: v0}]\n", release: release.Release{Tag: "v1", Digests: whole}, want: release.Component + ": images: entry b: is written in braces: write one field a line"},
		{name: "no_field", content: strings.Replace(component, "  newTag: \"1.9\" # quoted\n", "", 1), release: release.Release{Tag: "v1", Digests: whole}, want: "images: entry a: has no newTag: add it"},
		{name: "on_lines", content: strings.Replace(component, "newTag:   v0.1.0", "newTag: >-\n    v0.1.0", 1), release: release.Release{Tag: "v1", Digests: whole}, want: "entry b: newTag: \"v0.1.0\" is not written on one line"},
		{name: "no_yaml", content: "images: [\n", release: release.Release{Tag: "v1", Digests: whole}, want: release.Component + ": "},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.content == "" {
				test.content = component
			}
			root := checkout(t, test.content)
			_, err := release.Set(root, test.release)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line with %q", err, test.want)
			}
			if diff := cmp.Diff(test.content, read(t, root, release.Component)); diff != "" {
				t.Errorf("the component was changed (-was +is):\n%s", diff)
			}
			if _, err := os.Stat(filepath.Join(root, release.Digests)); err == nil {
				t.Error("something was recorded")
			}
		})
	}
}

// An image may lose its digest; then the line goes, and nothing else.
func TestSetImages(t *testing.T) {
	pinned := strings.Replace(component, "  # between\n", "  digest: "+one("a")+"\n  # between\n", 1)
	got, err := release.SetImages([]byte(pinned), func(i types.Image) types.Image {
		i.Digest = ""
		return i
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(component, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A digest is a digest, of one program.
func TestParseDigests(t *testing.T) {
	for _, test := range []struct {
		name  string
		texts []string
		want  string // of the error
	}{
		{name: "two", texts: []string{"a=" + one("a"), "b=" + one("b")}},
		{name: "no_program", texts: []string{one("a")}, want: "expected PROGRAM=sha256: and 64 digits"},
		{name: "short", texts: []string{"a=sha256:aa"}, want: `"a=sha256:aa": expected`},
		{name: "capitals", texts: []string{"a=" + one("A")}, want: "expected"},
		{name: "empty", texts: []string{"a="}, want: `"a=": expected`},
		{name: "twice", texts: []string{"a=" + one("a"), "a=" + one("b")}, want: "a has a digest already"},
		{name: "of_another", texts: []string{"a=" + one("a"), "b=" + one("a")}, want: "that is the digest of a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			digests, err := release.ParseDigests(test.texts)
			if test.want == "" && (err != nil || len(digests) != len(test.texts)) {
				t.Errorf("got %v, %v", digests, err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// Registries want small letters, whatever the owner's name on GitHub is.
func TestParseRegistry(t *testing.T) {
	for text, want := range map[string]string{
		"ghcr.io/grpc-lb": "ghcr.io/grpc-lb", "ghcr.io/MyOrg": "ghcr.io/myorg", "localhost:5000/A/b": "localhost:5000/a/b",
		"ghcr.io": "", "MyOrg": "", "me/lab": "", "https://ghcr.io/me": "", "ghcr.io/": "", "": "", "ghcr.io/me/": "",
	} {
		got, err := release.ParseRegistry(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "expected HOST/OWNER, such as ghcr.io/me") {
			t.Errorf("%q: error %v does not say what is expected", text, err)
		}
	}
}

// A fork's repository is set in both files, and its registry in the component, and
// no other byte.
func TestFork(t *testing.T) {
	root := checkout(t, component)
	for _, r := range []release.Repository{{URL: "https://example.com/B/c.git"}, {URL: "git@example.com:B/c.git", Branch: "trunk"}} {
		if err := release.SetRepository(root, r); err != nil {
			t.Fatal(err)
		}
		if r.Branch == "" {
			r.Branch = "main"
		}
		want := "data: # of a fork\n  url: " + r.URL + " # here\n  revision: " + r.Branch + "\n"
		if diff := cmp.Diff(want, read(t, root, "argocd/repository.yaml")); diff != "" {
			t.Errorf("repository.yaml (-want +got):\n%s", diff)
		}
		want = "# Root.\nspec: # of main\n  sourceRepos:\n    - " + r.URL + "\n---\nspec:\n  source:\n    repoURL: " + r.URL + "\n    path: argocd\n    targetRevision: " + r.Branch + "\n"
		if diff := cmp.Diff(want, read(t, root, "argocd/root.yaml")); diff != "" {
			t.Errorf("root.yaml (-want +got):\n%s", diff)
		}
		if got, err := release.ReadRepository(root); err != nil || got != r {
			t.Errorf("read %v, %v, want %v", got, err, r)
		}
	}
	apart := checkout(t, component)
	if err := os.WriteFile(filepath.Join(apart, "argocd/root.yaml"), []byte("spec: {source: {repoURL: 'https://example.com/other.git'}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := release.SetRepository(apart, release.Repository{URL: "https://example.com/B/c.git"}); err == nil || !strings.Contains(err.Error(), "argocd/root.yaml: does not name https://example.com/a.git") {
		t.Errorf("root.yaml of another repository: error %v", err)
	}
	for _, url := range []string{
		"", "github.com/me/grpc-lb", "https://example.com", "a b://c/d", "https://example.com/a b", "file:///tmp/x", "oci://ghcr.io/x",
		"https://user:secret@example.com/a.git", "https://secret@example.com/a.git", "ssh://user:secret@example.com/a.git", "https://example.com/a.git?ref=1",
	} {
		if err := release.SetRepository(root, release.Repository{URL: url}); err == nil || !strings.Contains(err.Error(), "expected a URL that git takes") {
			t.Errorf("%q: error %v", url, err)
		}
	}
	for _, branch := range []string{"1.0", "12", "a b", "a#b", "a:b"} {
		if err := release.SetRepository(root, release.Repository{URL: "https://example.com/c.git", Branch: branch}); err == nil || !strings.Contains(err.Error(), "branch") {
			t.Errorf("branch %q: error %v", branch, err)
		}
	}
	r := release.Repository{URL: "ssh://git@example.com/B/c.git", Branch: "release/1.0"}
	if err := release.Fork(root, r, "ghcr.io/y"); err != nil {
		t.Fatal(err)
	}
	if got, err := release.ReadRepository(root); err != nil || got != r {
		t.Errorf("read %v, %v, want %v", got, err, r)
	}
	want := strings.NewReplacer("ghcr.io/x/a", "ghcr.io/y/a", "'ghcr.io/x/b'", "ghcr.io/y/b").Replace(component)
	if diff := cmp.Diff(want, read(t, root, release.Component)); diff != "" {
		t.Errorf("component (-want +got):\n%s", diff)
	}
}

// A command that fails at one of its files has changed none, and leaves nothing else.
func TestAllOrNothing(t *testing.T) {
	fork := func(root string) error {
		return release.Fork(root, release.Repository{URL: "https://example.com/new.git"}, "ghcr.io/y")
	}
	set := func(root string) error {
		_, err := release.Set(root, release.Release{Tag: "v9", Digests: map[string]string{"a": one("a"), "b": one("b")}})
		return err
	}
	for _, test := range []struct {
		name, file, content string
		do                  func(string) error
		want                string
	}{
		{name: "fork_component_is_no_yaml", file: release.Component, content: ":: {[", do: fork, want: release.Component + ": "},
		{name: "fork_component_is_empty", file: release.Component, do: fork, want: release.Component + ": names no images"},
		{name: "fork_root_of_another", file: "argocd/root.yaml", content: "spec: {}\n", do: fork, want: "argocd/root.yaml: does not name"},
		{name: "release_component_is_empty", file: release.Component, do: set, want: "names no images"},
		{name: "release_record_is_no_yaml", file: release.Digests, content: ":: {[", do: set, want: release.Digests + ": "},
		{name: "release_digest_of_another_program", file: release.Digests, content: "v8:\n  b: " + one("a") + "\n", do: set, want: "a: " + one("a") + " is recorded for b v8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := checkout(t, component)
			if err := os.WriteFile(filepath.Join(root, test.file), []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			before := files(t, root)
			if err := test.do(root); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if diff := cmp.Diff(before, files(t, root)); diff != "" {
				t.Errorf("files (-before +after):\n%s", diff)
			}
		})
	}
}

// files are all of a directory, by path.
func files(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A digest is judged by what was recorded of it: see TestRelease of package
// overlay for the manifests.
func TestProblem(t *testing.T) {
	record := release.Record{"v1": {"a": one("1"), "b": one("2")}, "v2": {"a": one("1"), "b": one("3")}}
	for _, test := range []struct {
		name, image, tag, digest string
		released                 bool
		want                     string
	}{
		{name: "no_digest", image: "x/a", tag: "v1", released: true, want: "has no digest, and v1 is recorded with " + one("1")},
		{name: "no_digest_of_others", image: "x/a", tag: "v1"},
		{name: "no_digest_and_no_record", image: "x/a", tag: "v3", released: true},
		{name: "its_own", image: "x/b", tag: "v1", digest: one("2"), released: true},
		{name: "the_same_in_two", image: "x/a", tag: "v2", digest: one("1"), released: true},
		{name: "of_a_mirror", image: "y/z/b", tag: "v2", digest: one("3")},
		{name: "no_tag", image: "x/b", digest: one("2"), released: true},
		{name: "unknown_of_others", image: "x/shop", tag: "v1", digest: one("9")},
		{name: "unknown_under_the_program's_name", image: "me/a", tag: "v1", digest: one("9")},
		{name: "unknown_tag_and_digest", image: "x/a", tag: "v3", digest: one("9"), released: true, want: "has a digest that is not recorded for v3"},
		{name: "of_another_release", image: "x/b", tag: "v1", digest: one("3"), want: "has the digest of v2"},
		{name: "of_releases", image: "x/a", tag: "v3", digest: one("1"), want: "has the digest of v1, v2"},
		{name: "of_another_program", image: "x/shop", tag: "v1", digest: one("3"), want: "has the digest of b v2"},
		{name: "of_another_program_without_a_tag", image: "x/shop", digest: one("3"), want: "has the digest of b v2"},
		{name: "of_none", image: "x/a", tag: "v1", digest: one("9"), released: true, want: "has another digest than " + one("1") + ", which is recorded for v1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := record.Problem(test.image, test.tag, test.digest, test.released); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
