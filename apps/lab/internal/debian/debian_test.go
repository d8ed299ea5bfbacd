package debian_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/debian"
)

// What is there is not installed again; what is missing is named by its
// package, once, where nothing can install it.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "here"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	silent := func(text string) { t.Errorf("said %q, want nothing", text) }
	if err := debian.Install(t.Context(), map[string]string{"here": "pkg-here"}, silent); err != nil {
		t.Errorf("nothing is missing: %v", err)
	}
	err := debian.Install(t.Context(), map[string]string{"here": "pkg-here", "gone": "pkg-b", "lost": "pkg-b", "none": "pkg-a"}, silent)
	if err == nil || !strings.Contains(err.Error(), "missing: pkg-a pkg-b:") {
		t.Errorf("error %v, want one that names pkg-a and pkg-b", err)
	}
}
