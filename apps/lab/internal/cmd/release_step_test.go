package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// standInGH is a program gh that has no GitHub: it notes its calls, knows the pull
// requests of $GH_OPEN, and is forbidden to open one where $GH_FORBIDDEN is set.
const standInGH = `#!/bin/sh
echo "$*" >>"$GH_CALLS"
case "$1 $2" in
"pr list") printf %s "$GH_OPEN" ;;
"pr create") [ -z "$GH_FORBIDDEN" ] || { echo 'GraphQL: GitHub Actions is not permitted to create or approve pull requests' >&2; exit 1; } ;;
esac
`

// The last step of a release pushes its branch and opens a pull request. Run again,
// after a failure or for nothing, it makes the branch anew, opens no second pull
// request, and does nothing where the release is merged. Where GitHub forbids pull
// requests it fails and says what to allow.
func TestWorkflowPullRequest(t *testing.T) {
	text := workflows(t)["images.yml"].step(t, "pin", "open the pull request")
	bin, origin := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "gh"), []byte(standInGH), 0o755); err != nil {
		t.Fatal(err)
	}
	git := func(dir string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@localhost", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@localhost")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	git(origin, "init", "--quiet", "--bare", "--initial-branch=main")
	seed := t.TempDir()
	git(seed, "init", "--quiet", "--initial-branch=main")
	write := func(dir, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "release"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(seed, "v0.1.0")
	git(seed, "add", "--all")
	git(seed, "commit", "--quiet", "--message=seed")
	git(seed, "push", "--quiet", origin, "main")

	for _, test := range []struct {
		name, content   string
		open, forbidden string
		fails           bool
		want            string // of what it says
		calls           string // of gh
	}{
		{name: "first", content: "v0.2.0", calls: "auth setup-git|pr list|pr create"},
		{name: "forbidden", content: "v0.2.0", forbidden: "1", fails: true, want: "as .github/SETUP.md says, and run this job again", calls: "auth setup-git|pr list|pr create"},
		{name: "again", content: "v0.2.0 of another run", open: "7", calls: "auth setup-git|pr list"},
		{name: "merged", content: "v0.1.0", want: "v0.2.0 is set already."},
	} {
		// Not in parallel: each finds the branch of those before.
		t.Run(test.name, func(t *testing.T) {
			dir, calls := t.TempDir(), filepath.Join(t.TempDir(), "calls")
			git(dir, "clone", "--quiet", origin, ".")
			write(dir, test.content)
			out, err := script(t, dir, text, "PATH="+bin+":"+os.Getenv("PATH"), "GIT_CONFIG_GLOBAL="+os.DevNull,
				"GH_CALLS="+calls, "GH_OPEN="+test.open, "GH_FORBIDDEN="+test.forbidden, "BRANCH=release-v0.2.0", "GITHUB_REF_NAME=v0.2.0")
			if (err != nil) != test.fails || !strings.Contains(out, test.want) {
				t.Errorf("it ends with %v and says %q, want it to fail: %t, and %q", err, out, test.fails, test.want)
			}
			noted, _ := os.ReadFile(calls) // none where gh is not called
			for call := range strings.SplitSeq(test.calls, "|") {
				if !strings.Contains(string(noted), call) {
					t.Errorf("gh is called with %q, want %s", noted, call)
				}
			}
			if got, want := strings.Count(string(noted), "\n"), len(strings.FieldsFunc(test.calls, func(r rune) bool { return r == '|' })); got != want {
				t.Errorf("gh is called %d times, want %d:\n%s", got, want, noted)
			}
			if test.name == "merged" {
				return
			}
			if got := git(origin, "show", "release-v0.2.0:release"); got != test.content {
				t.Errorf("the branch holds %q, want %q", got, test.content)
			}
		})
	}
}
