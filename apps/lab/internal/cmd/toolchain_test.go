package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// goModules returns the directories of all modules of this checkout.
func goModules(t *testing.T) []string {
	t.Helper()
	var dirs []string
	err := filepath.WalkDir(repositoryRoot, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.Name() == ".git" || entry.Name() == "testdata":
			return filepath.SkipDir
		case entry.Name() == "go.mod":
			dirs = append(dirs, filepath.Dir(file))
		}
		return nil
	})
	if err != nil || len(dirs) < 10 {
		t.Fatalf("found the modules %q: %v", dirs, err)
	}
	return dirs
}

// Workflows install exactly the Go that the toolchain line of go.mod names, and
// forbid it to fetch another. That Go takes every module of the checkout, as its go
// line and those of what it requires demand.
func TestToolchain(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(repositoryRoot, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	module, err := modfile.Parse("go.mod", content, nil)
	if err != nil {
		t.Fatal(err)
	}
	if module.Toolchain == nil {
		t.Fatal("go.mod has no toolchain line: setup-go would install its go line's version, which nested modules refuse")
	}
	list := func(dir, toolchain string) (string, error) {
		list := exec.CommandContext(t.Context(), "go", "list", "-m")
		list.Dir, list.Env = dir, append(os.Environ(), "GOTOOLCHAIN="+toolchain, "GOFLAGS=", "GOWORK=off")
		out, err := list.CombinedOutput()
		return string(out), err
	}
	for _, dir := range goModules(t) {
		if out, err := list(dir, module.Toolchain.Name); err != nil {
			t.Errorf("%s refuses %s, which workflows use: %v\n%s", dir, module.Toolchain.Name, err, out)
		}
	}
	// What refuses an older Go does so by this very call.
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, "go.mod"), []byte("module example.com/m\n\ngo 1.99.0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := list(newer, module.Toolchain.Name); err == nil || !strings.Contains(out, "requires go >= 1.99.0") {
		t.Errorf("a module that needs Go 1.99 is taken: %v\n%s", err, out)
	}
}
