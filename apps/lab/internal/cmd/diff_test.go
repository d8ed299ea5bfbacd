package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/diff"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
)

// repository is a git repository of its own with this checkout's manifests.
func repository(t *testing.T) string {
	t.Helper()
	dir := copyOfManifests(t)
	git(t, dir, "init", "--quiet", "--initial-branch=main")
	commit(t, dir)
	return dir
}

func commit(t *testing.T, dir string) {
	t.Helper()
	git(t, dir, "add", "--all")
	git(t, dir, "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "--no-verify", "--allow-empty", "--message=m")
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// edit replaces text in a file, which must have it.
func edit(t *testing.T, file, old, replacement string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.ReplaceAll(string(content), old, replacement)
	if changed == string(content) {
		t.Fatalf("%s has no %q to change", file, old)
	}
	write(t, file, changed)
}

// retag sets another tag for all programs.
func retag(tag string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		edit(t, filepath.Join(dir, release.Component), "newTag: "+releaseOf(t, dir)[0].NewTag+"\n", "newTag: "+tag+"\n")
	}
}

// releaseOf returns the images that a checkout releases.
func releaseOf(t *testing.T, dir string) []types.Image {
	t.Helper()
	images, err := release.Read(dir)
	if err != nil || len(images) == 0 {
		t.Fatalf("%d images are released: %v", len(images), err)
	}
	return images
}

// The exit code tells whether something differs, and with a gate whether one of
// its flags is raised; the difference goes to stdout alone.
func TestDiff(t *testing.T) {
	clean, released := repository(t), repository(t)
	retag(nextTag(t))(t, released)
	scaled, unignored := repository(t), repository(t)
	for _, dir := range []string{scaled, unignored} {
		for _, app := range []string{"server", "client"} {
			edit(t, filepath.Join(dir, "base/echo-"+app+"/deployment.yaml"), "replicas: 3", "replicas: 5")
		}
	}
	edit(t, filepath.Join(unignored, "argocd/l4.yaml"), "      - RespectIgnoreDifferences=true\n", "")
	tests := []struct {
		name   string
		dir    string
		args   []string
		code   int
		stdout string // part of it
		stderr string // part of it, "" for nothing
	}{
		{name: "nothing", dir: clean, args: []string{"diff"}, stdout: "compared, nothing differs, from commit "},
		{name: "images", dir: released, args: []string{"diff"}, code: 1, stdout: "l4: Deployment grpc-lb-l4/echo-server is changed\n  image: "},
		{name: "one_overlay", dir: released, args: []string{"diff", "dns", "--base", "HEAD"}, code: 1, stdout: "\n1 of 1 differ, from commit "},
		{name: "argocd", dir: released, args: []string{"diff", "argocd"}, stdout: "nothing differs"},
		{name: "variant", dir: released, args: []string{"diff", "dns-max-age"}, code: 1, stdout: "Deployment grpc-lb-dns-max-age/echo-server is changed"},
		{name: "gate_that_holds", dir: released, args: []string{"diff", "--gate", "immutable,pruned"}, stdout: "; flags: image "},
		{name: "gate", dir: released, args: []string{"diff", "l4", "--gate", "pruned,image"}, code: 1, stdout: "; flags: image 2.", stderr: "lab: image: l4: Deployment grpc-lb-l4/echo-client: container echo-client: "},
		// Of the two only echo-server's is ignored, and only where a sync ignores it too.
		{name: "ignored", dir: scaled, args: []string{"diff", "l4"}, code: 1, stdout: "ignored: spec.replicas stays as it is in the cluster: Argo CD ignores the change from 3 to 5\n"},
		{name: "ignored_once", dir: scaled, args: []string{"diff", "l4"}, code: 1, stdout: "; flags: ignored 1."},
		{name: "ignored_by_none", dir: scaled, args: []string{"diff", "l4-max-age"}, code: 1, stdout: "2 changed, 0 added, 0 removed."},
		{name: "not_ignored", dir: unignored, args: []string{"diff", "l4"}, code: 1, stdout: "2 changed, 0 added, 0 removed."},
		{name: "markdown", dir: released, args: []string{"diff", "l4", "-o", "markdown"}, code: 1, stdout: "\n<details><summary>l4: Deployment grpc-lb-l4/echo-client is changed (image)</summary>\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := call{dir: tt.dir, args: tt.args}.run(t)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if !strings.Contains(stdout, tt.stdout) {
				t.Errorf("stdout lacks %q:\n%s", tt.stdout, stdout)
			}
			if !strings.HasPrefix(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
				t.Errorf("stderr is %q, want %q", stderr, tt.stderr)
			}
			if strings.Contains(stdout, "\x1b") {
				t.Error("stdout is no terminal and has colours")
			}
		})
	}
}

// The JSON holds every overlay and reads back.
func TestDiffJSON(t *testing.T) {
	dir := repository(t)
	retag(nextTag(t))(t, dir)
	code, stdout, stderr := call{dir: dir, args: []string{"diff", "-o", "json"}}.run(t)
	var r diff.Result
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != 1 || stderr != "" {
		t.Fatalf("exit code %d, stderr %q, %v:\n%s", code, stderr, err, stdout)
	}
	if want := len(strategies()) + 1; len(r.Overlays) != want || r.After != "the working tree" {
		t.Errorf("%d overlays, after %q, want %d with argocd", len(r.Overlays), r.After, want)
	}
	if len(r.Flagged(diff.FlagImage)) < 2*len(strategies()) || len(r.Flagged()) != len(r.Flagged(diff.FlagImage)) {
		t.Errorf("flags: %v", r.Flagged())
	}
}

// What stops a diff is one line, and exit code 2 in each case.
func TestDiffFailures(t *testing.T) {
	dir, unpacked := repository(t), t.TempDir()
	if err := os.CopyFS(unpacked, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(unpacked, ".git")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		call call
		want []string
	}{
		{"unknown overlay", call{dir: dir, args: []string{"diff", "l5"}}, []string{`"l5"`, "l4", "argocd", "l4-max-age"}},
		{"unknown ref", call{dir: dir, args: []string{"diff", "--base", "nope"}}, []string{"--base nope", "`git fetch`"}},
		{"unknown output", call{dir: dir, args: []string{"diff", "-o", "table"}}, []string{`"table"`, "diff, json or markdown"}},
		{"unknown flag to gate", call{dir: dir, args: []string{"diff", "--gate", "images"}}, []string{`"images"`, "image, rbac, security, immutable, pruned"}},
		{"no cluster", call{dir: dir, args: []string{"diff", "--live"}}, []string{"no cluster of this checkout is up", "`lab up`"}},
		{"live and base", call{dir: dir, args: []string{"diff", "--live", "--base", "main"}}, []string{"base", "live"}},
		{"no git", call{dir: unpacked, args: []string{"diff"}}, []string{"not a git repository", "clone"}},
		{"outside a checkout", call{dir: os.TempDir(), args: []string{"diff"}}, []string{"clone"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.call.wantFailure(t, 2, tt.want...)
		})
	}
}
