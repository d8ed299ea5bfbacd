package component_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"go.uber.org/goleak"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	modFile  = "module example.com/x\n\ngo 1.26.0\n"
	mainFile = "package main\n\nfunc main() { print(version) }\n\nvar version string\n"
)

var fake = component.Component{Name: "x", Host: true, Programs: map[string]string{"x": "."}, Links: []string{"y", "z"}}

// newRoot makes a checkout with the component x of these files.
func newRoot(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "apps", "lab", "components", "x")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func fakeFiles() map[string]string {
	return map[string]string{"go.mod": modFile, "main.go": mainFile}
}

// key returns the name of the component's directory in the cache.
func key(t *testing.T, root string, c component.Component) string {
	t.Helper()
	dir, built, err := component.Builder{Root: root, Cache: "cache"}.Path(c)
	if err != nil || built {
		t.Fatalf("Path = built %t, error %v, want not built", built, err)
	}
	return filepath.Base(dir)
}

func TestKey(t *testing.T) {
	tests := []struct {
		name   string
		change func(files map[string]string, c *component.Component)
		same   bool
	}{
		{"nothing", func(map[string]string, *component.Component) {}, true},
		{"a text beside the sources", func(f map[string]string, _ *component.Component) { f["README.md"] = "x" }, true},
		{"a source", func(f map[string]string, _ *component.Component) { f["main.go"] += "// x\n" }, false},
		{"a new source", func(f map[string]string, _ *component.Component) { f["more.go"] = "package main\n" }, false},
		{"a renamed source", func(f map[string]string, _ *component.Component) { f["m.go"] = f["main.go"]; delete(f, "main.go") }, false},
		{"go.mod", func(f map[string]string, _ *component.Component) { f["go.mod"] += "// x\n" }, false},
		{"go.sum", func(f map[string]string, _ *component.Component) { f["go.sum"] = "x" }, false},
		{"a build tag", func(_ map[string]string, c *component.Component) { c.Tags = []string{"x"} }, false},
		{"a linker's flag", func(_ map[string]string, c *component.Component) { c.LDFlags = []string{"-X main.version=1"} }, false},
		{"a link", func(_ map[string]string, c *component.Component) { c.Links = []string{"y"} }, false},
		{"a program", func(_ map[string]string, c *component.Component) { c.Programs = map[string]string{"x": ".", "w": "."} }, false},
	}
	base := key(t, newRoot(t, fakeFiles()), fake)
	if !strings.HasPrefix(base, "x-") {
		t.Errorf("directory %q, want x-<hash>", base)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files, c := fakeFiles(), fake
			tt.change(files, &c)
			if got := key(t, newRoot(t, files), c); (got == base) != tt.same {
				t.Errorf("key %s after a change, %s before: want same %t", got, base, tt.same)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	tests := []struct {
		name, mod, want string
	}{
		{"in a block", "module m\n\nrequire (\n\texample.com/other v9.0.0\n\texample.com/dep v1.2.3\n)\n", "v1.2.3"},
		{"on a line of its own", "module m\n\nrequire example.com/dep v1.2.3 // pinned\n", "v1.2.3"},
		{"a longer path is another module", "module m\n\nrequire example.com/dep/v2 v2.0.0\n", ""},
	}
	c := component.Component{Name: "x", Module: "example.com/dep"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := c.Version(newRoot(t, map[string]string{"go.mod": tt.mod}))
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("Version = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// Every component of the checkout has a module whose version is found, and what it
// takes to make was measured.
func TestCheckout(t *testing.T) {
	for _, c := range slices.Concat(component.Groups...) {
		t.Run(c.Name, func(t *testing.T) {
			if c.Minutes == 0 || c.Space.Programs == 0 {
				t.Errorf("it takes %v minutes and %d MiB, want what was measured", c.Minutes, c.Space.Programs)
			}
			version, err := c.Version("../../../..")
			if err != nil || !strings.HasPrefix(version, "v") {
				t.Errorf("Version = %q, %v, want one such as v1.2.3", version, err)
			}
		})
	}
}

func TestBuild(t *testing.T) {
	root, details := newRoot(t, fakeFiles()), 0
	c := fake
	c.LDFlags = []string{"-X main.version=of-%s"}
	b := component.Builder{Root: root, Cache: t.TempDir(), Detail: func(string) { details++ }}
	dir, err := b.Build(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if details == 0 {
		t.Error("the build said nothing about how far it is")
	}
	for _, name := range []string{"x", "y", "z"} {
		out, err := exec.Command(filepath.Join(dir, name)).CombinedOutput()
		if err != nil || string(out) != "of-v0" {
			t.Errorf("%s prints %q, %v, want of-v0", name, out, err)
		}
	}
	if path, built, err := b.Path(c); path != dir || !built || err != nil {
		t.Errorf("Path = %s, %t, %v, want %s, true", path, built, err, dir)
	}

	// The second build has no go command to run.
	t.Setenv("PATH", t.TempDir())
	details = 0
	if again, err := b.Build(t.Context(), c); again != dir || err != nil || details > 0 {
		t.Errorf("second Build = %s, %v with %d details, want %s, none", again, err, details, dir)
	}
}

func TestBuildFails(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string // beside the good ones
		want  []string
	}{
		{
			name:  "a compile error",
			files: map[string]string{"bad.go": "package main\n\nvar _ = nowhere\n"},
			want:  []string{"component x: ", "./bad.go:3:9: undefined: nowhere", "run again"},
		},
		{
			name:  "a module that cannot be had",
			files: map[string]string{"bad.go": "package main\n\nimport _ \"example.invalid/nowhere\"\n"},
			want:  []string{"component x: ", "example.invalid/nowhere"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := fakeFiles()
			maps.Copy(files, tt.files)
			b := component.Builder{Root: newRoot(t, files), Cache: t.TempDir()}
			_, err := b.Build(t.Context(), fake)
			if err == nil {
				t.Fatal("Build succeeded, want an error")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error lacks %q:\n%s", w, err)
				}
			}
			wantNothingLeft(t, b.Cache)
		})
	}
}

// wantNothingLeft checks that only locks are in the cache.
func wantNothingLeft(t *testing.T, cache string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(cache, "components", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		if filepath.Ext(f) != ".lock" {
			t.Errorf("the build leaves %s", f)
		}
	}
}

func TestBuildCancelled(t *testing.T) {
	// A go command that hangs once it has said that it fetches something.
	bin := t.TempDir()
	script := "#!/bin/sh\necho 'go: downloading example.com/dep v1.0.0' >&2\nsleep 600 & wait\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted by a test")
	b := component.Builder{Root: newRoot(t, fakeFiles()), Cache: t.TempDir(), Detail: func(text string) {
		if text == "1 modules fetched" {
			cancel(interrupted)
		}
	}}
	// It returns only when what the go command started is gone too.
	if _, err := b.Build(ctx, fake); !errors.Is(err, interrupted) {
		t.Errorf("Build = %v, want %v", err, interrupted)
	}
	wantNothingLeft(t, b.Cache)
}

// A Go that is too old for a component, and may fetch no other, is told before
// anything is built.
func TestCheckGo(t *testing.T) {
	t.Setenv("GOTOOLCHAIN", "local")
	for _, tt := range []struct{ name, line, want string }{
		{name: "old_enough", line: "go 1.26.0"},
		{name: "too_new", line: "go 1.99.0", want: "component x: go: go.mod requires go >= 1.99.0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := fakeFiles()
			files["go.mod"] = strings.Replace(files["go.mod"], "go 1.26.0", tt.line, 1)
			err := component.Builder{Root: newRoot(t, files), Cache: t.TempDir()}.CheckGo(t.Context(), fake)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("CheckGo = %v, want %q", err, tt.want)
			}
		})
	}
}

// What was compiled is removed once all components are built, as long as no other
// lab builds with it, and kept where one of them fails, for the next attempt.
func TestBuildAllDropsCompiled(t *testing.T) {
	step := func(ctx context.Context, _ string, _ time.Duration, f func(context.Context, func(string)) error) error {
		return f(ctx, func(string) {})
	}
	b := component.Builder{Root: newRoot(t, fakeFiles()), Cache: t.TempDir()}
	compiled := filepath.Join(b.Cache, "go-build")
	broken := fake
	broken.Programs = map[string]string{"x": "./none"}
	if _, _, err := b.BuildAll(t.Context(), []component.Component{fake, broken}, step); err == nil {
		t.Fatal("a package that does not exist was built")
	}
	if _, err := os.Stat(compiled); err != nil {
		t.Errorf("after a failure: %v, want what was compiled", err)
	}

	other := flock.New(compiled + ".lock")
	defer other.Close()
	if err := other.RLock(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.BuildAll(t.Context(), []component.Component{fake}, step); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(compiled); err != nil {
		t.Errorf("while another lab builds: %v, want what was compiled", err)
	}

	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.BuildAll(t.Context(), []component.Component{fake}, step); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(compiled); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after all: %v, want what was compiled to be gone", err)
	}
}

func TestBuildWaits(t *testing.T) {
	b := component.Builder{Root: newRoot(t, fakeFiles()), Cache: t.TempDir()}
	dir, _, err := b.Path(fake)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	other := flock.New(dir + ".lock")
	defer other.Close()
	if err := other.Lock(); err != nil {
		t.Fatal(err)
	}
	// The other lab is done as soon as this one waits for it.
	b.Detail = func(text string) {
		if strings.Contains(text, "another lab") {
			_ = os.Mkdir(dir, 0o755)
			_ = other.Close()
		}
	}
	if got, err := b.Build(t.Context(), fake); got != dir || err != nil {
		t.Errorf("Build = %s, %v, want %s, what the other lab built", got, err, dir)
	}
}

func TestCacheCannotBeWritten(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(cache, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := component.Builder{Root: newRoot(t, fakeFiles()), Cache: cache}.Build(t.Context(), fake)
	if err == nil || !strings.Contains(err.Error(), cache) {
		t.Errorf("Build = %v, want an error that names %s", err, cache)
	}
}

func TestUnknownModule(t *testing.T) {
	c := component.Component{Name: "gone", Module: "example.com/dep"}
	_, err := component.Builder{Root: t.TempDir(), Cache: t.TempDir()}.Build(t.Context(), c)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Build = %v, want %v", err, os.ErrNotExist)
	}
}
