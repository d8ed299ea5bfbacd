package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The wire contract is compared with what a push found, with the branch that a pull
// request goes to, and else with the commit before; where there is none, the script
// says that nothing was compared. A program that prints its arguments stands in for
// go, which would compile buf.
func TestBreakingBase(t *testing.T) {
	dir, bin := t.TempDir(), t.TempDir()
	content, err := os.ReadFile(filepath.Join(repositoryRoot, ".ci/breaking"))
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		filepath.Join(dir, ".ci/breaking"): string(content), filepath.Join(dir, "proto/echo.proto"): "", filepath.Join(bin, "go"): "#!/bin/sh\necho \"go $*\"\n",
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=t", "-c", "user.email=t@localhost"}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	commit := func() string {
		git("add", "--all")
		git("commit", "--quiet", "--allow-empty", "--no-verify", "--message=m")
		return git("rev-parse", "HEAD")
	}
	run := func(env ...string) string {
		cmd := exec.CommandContext(t.Context(), "bash", ".ci/breaking")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), append([]string{"PATH=" + bin + ":" + os.Getenv("PATH"), "GITHUB_BASE_REF=", "BEFORE="}, env...)...)
		out, _ := cmd.CombinedOutput() // which says why it fails
		return string(out)
	}
	git("init", "--quiet", "--initial-branch=main")
	first := commit()
	if got := run(); !strings.Contains(got, "buf breaking: not run: ") {
		t.Errorf("with one commit: %q, want that nothing is compared", got)
	}
	second := commit()
	commit()
	git("update-ref", "refs/remotes/origin/main", first)
	for _, test := range []struct{ name, env, want string }{
		{name: "here", want: "ref=" + second + "\n"},
		{name: "push", env: "BEFORE=" + first, want: "ref=" + first + "\n"},
		{name: "new_branch", env: "BEFORE=" + strings.Repeat("0", 40), want: "ref=" + second + "\n"},
		{name: "pull_request", env: "GITHUB_BASE_REF=main", want: "ref=" + first + "\n"},
		{name: "base_not_fetched", env: "GITHUB_BASE_REF=next", want: "origin/next is not in this clone: fetch it\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := run(test.env); !strings.HasSuffix(got, test.want) {
				t.Errorf("it says %q, want %q", got, test.want)
			}
		})
	}
}
