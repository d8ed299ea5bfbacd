package image

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"strings"
)

// WithLibraries adds to an image's files, see [Image], the shared libraries that
// its programs load and the loader itself, each at the path that it has on this
// machine, as the C library's ldd lists them.
func WithLibraries(ctx context.Context, files map[string]string) (map[string]string, error) {
	all := maps.Clone(files)
	for _, program := range files {
		out, err := exec.CommandContext(ctx, "ldd", program).CombinedOutput()
		if err != nil {
			if text := string(out); strings.Contains(text, "not a dynamic executable") {
				continue
			}
			return nil, fmt.Errorf("image: ldd %s: %w: %s", program, err, strings.TrimSpace(string(out)))
		}
		libraries, err := parseLDD(string(out))
		if err != nil {
			return nil, fmt.Errorf("image: ldd %s: %w", program, err)
		}
		for _, l := range libraries {
			all[l] = l
		}
	}
	return all, nil
}

// parseLDD returns the files in lines such as "libc.so.6 => /lib/libc.so.6 (0x7f…)"
// and "/lib64/ld-linux-x86-64.so.2 (0x7f…)". The kernel's vdso is no file.
func parseLDD(out string) ([]string, error) {
	var files []string
	for line := range strings.Lines(out) {
		name, found, _ := strings.Cut(strings.TrimSpace(line), " => ")
		if found == "not found" {
			return nil, fmt.Errorf("library %s is not installed", name)
		}
		if found == "" {
			found = name
		}
		if file, _, _ := strings.Cut(found, " "); strings.HasPrefix(file, "/") {
			files = append(files, file)
		}
	}
	return files, nil
}
