package image_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
)

func TestParseLDD(t *testing.T) {
	got, err := image.ParseLDD("\tlinux-vdso.so.1 (0x00007ffd)\n\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f7c)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f7c)\n")
	if diff := cmp.Diff([]string{"/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"}, got); diff != "" || err != nil {
		t.Errorf("error %v, libraries (-want +got):\n%s", err, diff)
	}
	if _, err := image.ParseLDD("\tlibnone.so.1 => not found\n"); err == nil || !strings.Contains(err.Error(), "libnone.so.1") {
		t.Errorf("error %v, want one that names the library", err)
	}
}

// A program of this machine runs with nothing but the files that were found for it.
func TestWithLibrariesRuns(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("chroot needs root")
	}
	program, err := exec.LookPath("true")
	if err != nil {
		t.Skip(err)
	}
	files, err := image.WithLibraries(t.Context(), map[string]string{"/true": program})
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for to, from := range files {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		to = filepath.Join(root, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "chroot", root, "/true").CombinedOutput(); err != nil {
		t.Errorf("it does not run alone: %v %s", err, out)
	}
}
