package main_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What is compiled before anything can be said is small: this program imports nothing
// but the standard library and packages here that do the same.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	const here = "github.com/grpc-lb/grpc-lb/apps/lab"
	want := []string{here + "/internal/become", here + "/internal/gobuild", here}
	if got := strings.Fields(string(out)); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("packages %q, want %q", got, want)
	}
}

// The program compiles the lab of its checkout, once, and becomes it: output and exit
// code are the lab's. Elsewhere it says what to do.
func TestBecomesTheLab(t *testing.T) {
	program := filepath.Join(t.TempDir(), "lab")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	compiled, err := exec.Command("go", "env", "GOCACHE").Output() // else that is in the new cache, too
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	run := func(dir string, args ...string) (code int, stdout, stderr string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		var said strings.Builder
		cmd.Dir, cmd.Stderr = dir, &said
		cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache, "GOCACHE="+strings.TrimSpace(string(compiled)))
		out, err := cmd.Output()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out), said.String()
	}
	const first = "lab: compiles itself first, about "
	if code, stdout, stderr := run(".", "render", "dns"); code != 0 || !strings.Contains(stdout, "kind: Deployment") || !strings.HasPrefix(stderr, first) {
		t.Errorf("render: exit code %d, %d bytes, stderr %q; want what is rendered, and first %q", code, len(stdout), stderr, first)
	}
	if code, _, stderr := run(".", "render", "nothing"); code != 2 || !strings.HasPrefix(stderr, "lab: ") || strings.Contains(stderr, first) {
		t.Errorf("a wrong name: exit code %d, stderr %q; want 2, and nothing compiled", code, stderr)
	}
	if code, _, stderr := run(os.TempDir(), "status"); code != 2 || !strings.Contains(stderr, "clone it") {
		t.Errorf("outside of a checkout: exit code %d, stderr %q; want 2 and what to do", code, stderr)
	}
}
