package diff_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/diff"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// gitEnv keeps the machine's configuration, and the repository whose hook may
// run the tests, away from git.
func gitEnv(t *testing.T) {
	t.Helper()
	for _, name := range []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"} {
		t.Setenv(name, "") // so that it is restored
		os.Unsetenv(name)
	}
	for name, value := range map[string]string{
		"GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_NOSYSTEM": "1",
		"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@localhost", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@localhost",
	} {
		t.Setenv(name, value)
	}
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// put writes files, by path, and removes those without content.
func put(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(root, name)
		if content == "" {
			if err := os.RemoveAll(file); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func commit(t *testing.T, root string, files map[string]string) {
	t.Helper()
	put(t, root, files)
	git(t, root, "add", "--all")
	git(t, root, "commit", "--quiet", "--allow-empty", "--message=m")
}

// kustomization is the content of a kustomization.yaml with these resources.
func kustomization(namespace string, resources ...string) string {
	return "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: " + namespace + "\nresources: [" + strings.Join(resources, ", ") + "]\n"
}

const component = "base/components/max-connection-age/kustomization.yaml"

// files are those of a small checkout.
func files() map[string]string {
	return map[string]string{
		"go.mod":                             "module github.com/grpc-lb/grpc-lb\n",
		"base/kustomization.yaml":            "resources: [deployment.yaml, service.yaml]\n",
		"base/deployment.yaml":               deployment,
		"base/service.yaml":                  service,
		component:                            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nlabels: [{pairs: {age: 10s}}]\n",
		"overlays/l4/kustomization.yaml":     kustomization("grpc-lb-l4", "../../base"),
		"overlays/hashed/kustomization.yaml": kustomization("grpc-lb-hashed", "use.yaml") + "configMapGenerator: [{name: config, files: [file]}]\n",
		"overlays/hashed/use.yaml":           strings.ReplaceAll(deployment, "config-2222222222", "config"),
		"overlays/hashed/file":               "one\n",
		"argocd/kustomization.yaml":          kustomization("argocd", "l4.yaml"),
		"argocd/l4.yaml":                     "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: grpc-lb-l4}\n",
		"argocd/root.yaml":                   "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: grpc-lb, namespace: argocd}\n",
	}
}

// repository returns the root of a git repository with the small checkout
// committed to main, and a branch of that checked out.
func repository(t *testing.T) string {
	t.Helper()
	gitEnv(t)
	root := t.TempDir()
	git(t, root, "init", "--quiet", "--initial-branch=main")
	commit(t, root, files())
	git(t, root, "switch", "--quiet", "--create=change")
	return root
}

// against compares a working tree with the merge base of a ref.
func against(t *testing.T, root, ref string, names ...string) diff.Result {
	t.Helper()
	base, err := diff.FindBase(t.Context(), root, ref)
	if err != nil {
		t.Fatal(err)
	}
	before, err := base.Extract(t.Context(), root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	after, err := manifest.Find(root)
	if err != nil {
		t.Fatal(err)
	}
	if names, err = diff.Choose(names, before, after); err != nil {
		t.Fatal(err)
	}
	units, err := diff.Rendered(before, after, names)
	if err != nil {
		t.Fatal(err)
	}
	return compare(t, units...)
}

// changes returns what became of each overlay that is not as it was.
func changes(r diff.Result) map[string]diff.Change {
	all := map[string]diff.Change{}
	for _, o := range r.Overlays {
		if o.Change != diff.Unchanged {
			all[o.Name] = o.Change
		}
	}
	return all
}

// The working tree, with what is and what is not committed, is compared with
// where the branch left main, of all that is deployed.
func TestRendered(t *testing.T) {
	newer := edit(t, deployment, "web:1", "web:2")
	tests := []struct {
		name      string
		committed map[string]string
		onMain    map[string]string // committed to main after the branch
		dirty     map[string]string
		names     []string
		want      map[string]diff.Change
		objects   []string
	}{
		{name: "nothing"},
		{
			name: "committed", committed: map[string]string{"base/deployment.yaml": newer}, names: []string{"l4", "l4"},
			want:    map[string]diff.Change{"l4": diff.Changed},
			objects: []string{"changed Deployment grpc-lb-l4/web", "image: container web: web:1 becomes web:2"},
		},
		{
			name: "dirty", dirty: map[string]string{"base/deployment.yaml": newer},
			want:    map[string]diff.Change{"l4": diff.Changed},
			objects: []string{"changed Deployment grpc-lb-l4/web", "image: container web: web:1 becomes web:2"},
		},
		{name: "reverted_in_the_working_tree", committed: map[string]string{"base/deployment.yaml": newer}, dirty: map[string]string{"base/deployment.yaml": deployment}},
		{name: "on_main_alone", onMain: map[string]string{"base/deployment.yaml": newer}},
		{name: "a_readme", committed: map[string]string{"overlays/l4/README.md": "l4\n"}},
		{
			name: "overlay_added", dirty: map[string]string{"overlays/new/kustomization.yaml": kustomization("grpc-lb-new", "../../base")},
			want:    map[string]diff.Change{"new": diff.Added},
			objects: []string{"added Service grpc-lb-new/web", "added Deployment grpc-lb-new/web"},
		},
		{
			name: "overlay_removed", committed: map[string]string{"overlays/l4": ""},
			want: map[string]diff.Change{"l4": diff.Removed},
			objects: []string{
				"removed Service grpc-lb-l4/web", "pruned: it is no longer rendered: Argo CD deletes it, kubectl apply leaves it behind",
				"removed Deployment grpc-lb-l4/web", "pruned: it is no longer rendered: Argo CD deletes it, kubectl apply leaves it behind",
			},
		},
		{
			name: "argocd", committed: map[string]string{"argocd/l4.yaml": files()["argocd/l4.yaml"] + "spec: {project: p}\n"},
			want:    map[string]diff.Change{"argocd": diff.Changed},
			objects: []string{"changed Application argocd/grpc-lb-l4"},
		},
		{
			name: "root", committed: map[string]string{"argocd/root.yaml": ""},
			want:    map[string]diff.Change{"argocd": diff.Changed},
			objects: []string{"removed Application argocd/grpc-lb", "pruned: it is no longer rendered: Argo CD deletes it, kubectl apply leaves it behind"},
		},
		{name: "argocd_removed", dirty: map[string]string{"argocd": ""}, names: []string{"argocd"}, want: map[string]diff.Change{"argocd": diff.Removed}, objects: []string{
			"removed Application argocd/grpc-lb-l4", "pruned: it is no longer rendered: Argo CD deletes it, kubectl apply leaves it behind",
			"removed Application argocd/grpc-lb", "pruned: it is no longer rendered: Argo CD deletes it, kubectl apply leaves it behind",
		}},
		{
			name: "generated", dirty: map[string]string{"overlays/hashed/file": "two\n"},
			want:    map[string]diff.Change{"hashed": diff.Changed},
			objects: []string{"changed ConfigMap grpc-lb-hashed/config-d2hdmd267m"},
		},
		{
			name: "variant", dirty: map[string]string{component: edit(t, files()[component], "10s", "20s")}, names: []string{"l4-max-age"},
			want:    map[string]diff.Change{"l4-max-age": diff.Changed},
			objects: []string{"changed Service grpc-lb-l4-max-age/web", "changed Deployment grpc-lb-l4-max-age/web"},
		},
		{name: "component_of_no_overlay", dirty: map[string]string{component: edit(t, files()[component], "10s", "20s")}},
		{
			name: "variant_without_component", committed: map[string]string{filepath.Dir(component): ""}, names: []string{"l4-max-age"},
			want: map[string]diff.Change{"l4-max-age": diff.Removed},
			objects: []string{
				"removed Service grpc-lb-l4-max-age/web", "pruned: it is no longer rendered: Argo CD deletes it, kubectl apply leaves it behind",
				"removed Deployment grpc-lb-l4-max-age/web", "pruned: it is no longer rendered: Argo CD deletes it, kubectl apply leaves it behind",
			},
		},
		{
			name: "left_out_of_archives", onMain: nil, committed: map[string]string{".gitattributes": "base export-ignore\n"},
			names: []string{"l4"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := repository(t)
			if tt.onMain != nil {
				git(t, root, "switch", "--quiet", "main")
				commit(t, root, tt.onMain)
				git(t, root, "switch", "--quiet", "change")
			}
			commit(t, root, tt.committed)
			put(t, root, tt.dirty)
			status := git(t, root, "status", "--porcelain")
			r := against(t, root, "", tt.names...)
			if tt.want == nil {
				tt.want = map[string]diff.Change{}
			}
			if diff := cmp.Diff(tt.want, changes(r)); diff != "" {
				t.Errorf("overlays (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.objects, outline(r)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			if now := git(t, root, "status", "--porcelain"); now != status {
				t.Errorf("the clone changed from %q to %q", status, now)
			}
		})
	}
}

// A checkout below the top of its git repository is compared like any other.
func TestBelowTheTop(t *testing.T) {
	gitEnv(t)
	top := t.TempDir()
	git(t, top, "init", "--quiet", "--initial-branch=main")
	commit(t, top, map[string]string{"other": "file"})
	root := filepath.Join(top, "a b")
	commit(t, top, prefixed("a b/", files()))
	put(t, root, map[string]string{"base/service.yaml": edit(t, service, "80", "81")})
	if got := outline(against(t, root, "", "l4")); len(got) != 1 || got[0] != "changed Service grpc-lb-l4/web" {
		t.Errorf("objects: %q", got)
	}
	// Of a commit without it, nothing can be rendered.
	base, err := diff.FindBase(t.Context(), root, "main~1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = base.Extract(t.Context(), root, t.TempDir())
	rejected(t, err, "holds no checkout of this repository")
}

func prefixed(prefix string, files map[string]string) map[string]string {
	all := map[string]string{}
	for name, content := range files {
		all[prefix+name] = content
	}
	return all
}

// A side that cannot be rendered, and a name that neither side has, are errors
// that say which.
func TestRenderedErrors(t *testing.T) {
	root := repository(t)
	after, err := manifest.Find(root)
	if err != nil {
		t.Fatal(err)
	}
	before := after
	_, err = diff.Choose([]string{"l4", "l5"}, before, after)
	rejected(t, err, `overlay "l5" does not exist: this checkout has hashed, l4, argocd, l4-max-age, dns-max-age`)

	commit(t, root, map[string]string{"overlays/l4/kustomization.yaml": kustomization("x", "nowhere.yaml")})
	_, err = diff.Rendered(before, after, []string{"l4"})
	rejected(t, err, "rendering overlays/l4: overlays/l4/nowhere.yaml: no such file or directory")
}

// A base that does not render, or of which kustomize warns, does not keep the rest from
// being compared.
func TestRenderedBase(t *testing.T) {
	root := repository(t)
	warned := files()["overlays/l4/kustomization.yaml"] + "commonLabels: {a: b}\n"
	for _, test := range []struct {
		name, base      string
		change          diff.Change
		reason, warning string
	}{
		{name: "broken", base: kustomization("x", "nowhere.yaml"), change: diff.Skipped, reason: "it did not render before the change: rendering l4: overlays/l4/nowhere.yaml: no such file or directory"},
		{name: "warned", base: warned, change: diff.Changed, warning: "'commonLabels' is deprecated"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.base == files()["overlays/l4/kustomization.yaml"] {
				t.Fatal("the base is not changed")
			}
			commit(t, root, map[string]string{"overlays/l4/kustomization.yaml": test.base})
			put(t, root, files())
			base, err := diff.FindBase(t.Context(), root, "HEAD")
			if err != nil {
				t.Fatal(err)
			}
			before, err := base.Extract(t.Context(), root, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			after, err := manifest.Find(root)
			if err != nil {
				t.Fatal(err)
			}
			units, err := diff.Rendered(before, after, []string{"hashed", "l4"})
			if err != nil {
				t.Fatal(err)
			}
			result, err := diff.Compare("a", "b", units...)
			if err != nil {
				t.Fatal(err)
			}
			if got := result.Overlays[0]; got.Change != diff.Unchanged {
				t.Errorf("the other overlay is %s, expected unchanged", got.Change)
			}
			got := result.Overlays[1]
			if got.Change != test.change || !strings.HasPrefix(got.Reason, test.reason) || !strings.Contains(strings.Join(got.Warnings, " "), test.warning) {
				t.Errorf("%s, reason %q, warnings %q; expected %s, %q, %q", got.Change, got.Reason, got.Warnings, test.change, test.reason, test.warning)
			}
		})
	}
}

// rejected fails the test unless err is one line that says want.
func rejected(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got error %v, expected one line with %q", err, want)
	}
}

// The base is where HEAD left a ref, origin/main before main, and may be given
// as anything that is a commit.
func TestFindBase(t *testing.T) {
	root := repository(t)
	start := git(t, root, "rev-parse", "HEAD")
	commit(t, root, map[string]string{"a": "a"})
	ahead := git(t, root, "rev-parse", "HEAD")
	git(t, root, "tag", "--annotate", "--message=v1", "v1")
	for _, tt := range []struct{ ref, want, is string }{
		{"", start, "main"},
		{"main", start, "main"},
		{"HEAD", ahead, "HEAD"},
		{"HEAD~1", start, "HEAD~1"},
		{"v1", ahead, "v1"},
		{start, start, start},
	} {
		base, err := diff.FindBase(t.Context(), root, tt.ref)
		if err != nil || base.Commit != tt.want || base.Ref != tt.is {
			t.Errorf("FindBase(%q) = %+v, %v, want commit %s of %s", tt.ref, base, err, tt.want, tt.is)
		}
	}
	git(t, root, "update-ref", "refs/remotes/origin/main", ahead)
	if base, err := diff.FindBase(t.Context(), root, ""); err != nil || base.Commit != ahead || base.Ref != "origin/main" {
		t.Errorf("with origin/main: %+v, %v", base, err)
	}
}

// What stands between a clone and its merge base is one line with what to do.
func TestFindBaseErrors(t *testing.T) {
	tests := []struct {
		name string
		root func(t *testing.T) string
		ref  string
		want []string
	}{
		{
			name: "no_repository",
			root: func(t *testing.T) string {
				t.Helper()
				gitEnv(t)
				return t.TempDir()
			},
			want: []string{"not a git repository", "clone the repository instead of unpacking it"},
		},
		{
			name: "no_git",
			root: func(t *testing.T) string {
				t.Helper()
				root := repository(t)
				t.Setenv("PATH", t.TempDir())
				return root
			},
			want: []string{"git is not on PATH: install it"},
		},
		{
			name: "no_commit",
			root: func(t *testing.T) string {
				t.Helper()
				gitEnv(t)
				root := t.TempDir()
				git(t, root, "init", "--quiet")
				return root
			},
			want: []string{"has no commit to compare with: commit first"},
		},
		{name: "unknown_ref", root: repository, ref: "nope", want: []string{"--base nope: this clone has no such commit: `git fetch`, or name another ref"}},
		{name: "unknown_branch", root: repository, ref: "origin/v2", want: []string{"`git fetch origin +v2:refs/remotes/origin/v2`"}},
		{name: "an_option", root: repository, ref: "--all", want: []string{"--base --all: this clone has no such commit"}},
		{name: "a_file", root: repository, ref: "main:go.mod", want: []string{"--base main:go.mod: this clone has no such commit"}},
		{
			name: "no_main",
			root: func(t *testing.T) string {
				t.Helper()
				root := repository(t)
				git(t, root, "branch", "-D", "main")
				return root
			},
			want: []string{"this clone has neither origin/main nor main: `git fetch origin +main:refs/remotes/origin/main`"},
		},
		{
			name: "nothing_in_common",
			root: func(t *testing.T) string {
				t.Helper()
				root := repository(t)
				git(t, root, "switch", "--quiet", "--orphan=other")
				commit(t, root, map[string]string{"a": "a"})
				return root
			},
			want: []string{"main and HEAD have no commit in common: name another ref with --base"},
		},
		{
			name: "shallow",
			root: shallow, ref: "origin/main",
			want: []string{"this shallow clone holds no merge base of origin/main and HEAD: `git fetch --unshallow`"},
		},
		{name: "shallow_without_the_ref", root: shallow, ref: "origin/v2", want: []string{"`git fetch --unshallow origin +v2:refs/remotes/origin/v2`"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := diff.FindBase(t.Context(), tt.root(t), tt.ref)
			for _, want := range tt.want {
				rejected(t, err, want)
			}
		})
	}
}

// shallow returns a clone that holds the newest commits of two branches and
// not where they parted.
func shallow(t *testing.T) string {
	t.Helper()
	origin := repository(t)
	commit(t, origin, map[string]string{"a": "a"})
	git(t, origin, "switch", "--quiet", "main")
	commit(t, origin, map[string]string{"b": "b"})
	clone := filepath.Join(t.TempDir(), "clone")
	git(t, origin, "clone", "--quiet", "--depth=1", "--no-single-branch", "--branch=change", "file://"+origin, clone)
	return clone
}

// What the error of a shallow clone says to do helps.
func TestUnshallow(t *testing.T) {
	clone := shallow(t)
	git(t, clone, "fetch", "--quiet", "--unshallow")
	if got := changes(against(t, clone, "")); len(got) > 0 {
		t.Errorf("overlays differ: %v", got)
	}
}
