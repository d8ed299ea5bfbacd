package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
)

// A release is one command: it changes its two files and nothing else, check
// accepts the tree, and diff names the images. Done again it changes nothing. A
// fork is one command as well.
func TestRelease(t *testing.T) {
	for owner, small := range map[string]string{"grpc-lb": "grpc-lb", "MyOrg": "myorg"} {
		t.Run(owner, func(t *testing.T) {
			t.Parallel()
			dir, tag := repository(t), nextTag(t)
			lab := func(args ...string) string {
				t.Helper()
				code, stdout, stderr := call{dir: dir, args: args}.run(t)
				if code != 0 || stderr != "" {
					t.Fatalf("lab %v: exit code %d, want 0:\n%s%s", args, code, stdout, stderr)
				}
				return stdout
			}
			changed := func(want ...string) {
				t.Helper()
				cmd := exec.CommandContext(t.Context(), "git", "diff", "--name-only")
				cmd.Dir = dir
				out, err := cmd.Output()
				if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != strings.Join(want, " ") {
					t.Errorf("changed: %s (%v), want %s", got, err, want)
				}
			}
			fork := []string{"fork", "https://github.com/" + owner + "/fork.git", "--registry", "ghcr.io/" + owner, "--branch", "trunk"}
			lab(fork...)
			lab("check")
			commit(t, dir)
			lab(fork...)
			changed()
			args := append([]string{"release", tag, "--registry", "ghcr.io/" + owner}, digests(tag)...)
			lab(args...)
			changed(release.Digests, release.Component)
			lab("check")
			for _, i := range releaseOf(t, dir) {
				if want := "ghcr.io/" + small + "/" + i.Name; i.NewName != want || i.NewTag != tag || i.Digest == "" {
					t.Errorf("%+v is released, want %s with tag and digest", i, want)
				}
			}
			if out := lab("diff", "--gate", "pruned"); !strings.Contains(out, " becomes ghcr.io/"+small+"/echo-server:"+tag+"@sha256:") {
				t.Errorf("diff names no image of the release:\n%s", out)
			}
			commit(t, dir)
			lab(args...)
			changed()
			retag(tag+".1")(t, dir)
			if out := lab("diff", "--gate", "pruned"); !strings.Contains(out, "another tag and the same digest") {
				t.Errorf("diff does not say that the digests stay:\n%s", out)
			}
			if code, stdout, _ := (call{dir: dir, args: []string{"check"}}).run(t); code != 1 || !strings.Contains(stdout, "has the digest of "+tag+" (release)") {
				t.Errorf("check of a tag by hand: exit code %d:\n%s", code, stdout)
			}
		})
	}
}

// What is no release or no fork is refused in one line, and nothing is changed.
func TestReleaseRefused(t *testing.T) {
	dir, given := repository(t), digests(nextTag(t))
	for _, test := range []struct {
		name string
		args []string
		want []string
	}{
		{"one_program_missing", append([]string{"release", "v1.0.0"}, given[:2]...), []string{"no digest of echo-client-xds"}},
		{"no_digest", []string{"release", "v1.0.0"}, []string{"no digest of echo-server, echo-client, echo-client-xds"}},
		{"unknown_program", append([]string{"release", "v1.0.0", "shop=sha256:" + strings.Repeat("a", 64)}, given...), []string{`no program "shop"`}},
		{"no_digest_of_sha256", append([]string{"release", "v1.0.0", "echo-server=12"}, given[1:]...), []string{`"echo-server=12"`}},
		{"latest", append([]string{"release", "latest"}, given...), []string{`tag "latest"`, "v0.2.0"}},
		{"no_tag", []string{"release"}, []string{"requires at least 1 arg"}},
		{"registry_without_an_owner", append([]string{"release", "v1.0.0", "--registry", "ghcr.io"}, given...), []string{`registry "ghcr.io"`, "ghcr.io/me"}},
		{"fork_without_a_registry", []string{"fork", "https://github.com/me/x.git"}, []string{"registry"}},
		{"fork_without_a_url", []string{"fork", "me/x", "--registry", "ghcr.io/me"}, []string{`repository "me/x"`, "https://"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			call{dir: dir, args: test.args}.wantFailure(t, 2, test.want...)
			cmd := exec.CommandContext(t.Context(), "git", "status", "--porcelain")
			cmd.Dir = dir
			if out, err := cmd.Output(); err != nil || len(out) > 0 {
				t.Errorf("changed: %s (%v), want nothing", out, err)
			}
		})
	}
}

// After the job that pins a release every test passes, here and in a fork with an
// owner in capitals, a URL, a branch and an overlay of its own: tests take from the
// tree what a release or a fork sets, and judge the overlays of this repository
// alone.
func TestReleasedTree(t *testing.T) {
	if os.Getenv("LAB_RELEASED") != "1" {
		t.Skip("runs the lab's tests in two copies: `LAB_RELEASED=1 go test ./apps/lab/internal/cmd -run ReleasedTree -v -timeout=60m`")
	}
	for _, owner := range []string{"grpc-lb", "MyOrg"} {
		t.Run(owner, func(t *testing.T) {
			dir, tag := copyCheckout(t), nextTag(t)
			git(t, dir, "init", "--quiet", "--initial-branch=main")
			commit(t, dir)
			run := func(name string, args ...string) {
				t.Helper()
				cmd := exec.CommandContext(t.Context(), name, args...)
				cmd.Dir = dir
				env := []string{"LAB_E2E=", "LAB_RELEASED=", "GITHUB_REF_NAME=" + tag, "REPOSITORY=ghcr.io/" + strings.ToLower(owner)}
				for i, variable := range []string{"SERVER", "CLIENT", "CLIENT_XDS"} {
					_, digest, _ := strings.Cut(digests(tag)[i], "=")
					env = append(env, variable+"="+digest)
				}
				cmd.Env = append(os.Environ(), env...)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s %s: %v\n%s", name, args, err, failures(out))
				}
			}
			run("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", stepOf(t, "images.yml", "pin", "set the digests"))
			if owner != "grpc-lb" {
				run(lab, "fork", "https://github.com/"+owner+"/fork.git", "--registry", "ghcr.io/"+owner, "--branch", "trunk")
				readAdoption(t, nil).follow(t, dir, 1, 2, 4)
			}
			commit(t, dir)
			run(lab, "check")
			run("go", "test", "-timeout=30m", "./apps/lab/...")
		})
	}
}

// failures are the lines of a test's output from the first failure on, without the
// packages that passed.
func failures(out []byte) []byte {
	var kept [][]byte
	for line := range bytes.Lines(out) {
		if !bytes.HasPrefix(line, []byte("ok ")) && !bytes.Contains(line, []byte("[no test files]")) {
			kept = append(kept, line)
		}
	}
	return bytes.Join(kept, nil)
}
