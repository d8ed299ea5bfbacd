package builtin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/debian"
)

// needed maps each program that a node takes from the host to its Debian package.
var needed = map[string]string{
	"runc":    "runc",
	"nft":     "nftables",
	"nsenter": "util-linux",
}

const (
	gib         = 1 << 30
	memoryNeed  = 3 * gib
	coldNeed    = 8 * gib // module sources, Go's build cache and the programs
	warmNeed    = gib / 2
	kernelFiles = "/proc/filesystems"
)

// preflight names everything that this machine lacks, each with its remedy, and
// installs the missing packages where that is possible.
func preflight(ctx context.Context, b component.Builder, builds []component.Component, detail func(string)) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("the built-in cluster needs Linux, this is %s: run the lab in a Linux virtual machine", runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the built-in cluster needs root to make namespaces, this is user %d: run the same command with sudo", os.Geteuid())
	}
	var errs []error
	if err := debian.Install(ctx, needed, detail); err != nil {
		errs = append(errs, err)
	}
	if fs, err := os.ReadFile(kernelFiles); err == nil && !bytes.Contains(fs, []byte("\toverlay\n")) {
		if out, err := exec.CommandContext(ctx, "modprobe", "overlay").CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("the kernel has no overlay file system: run `modprobe overlay` (%s)", strings.TrimSpace(string(out))))
		}
	}
	if have, ok := memoryAvailable(); ok && have < memoryNeed {
		errs = append(errs, fmt.Errorf("%.1f GiB of memory are available, the cluster needs %d: end other programs", float64(have)/gib, memoryNeed/gib))
	}
	errs = append(errs, checkSpace(ctx, b, builds))
	return errors.Join(errs...)
}

// checkSpace asks for room on every file system that a build writes to.
func checkSpace(ctx context.Context, b component.Builder, builds []component.Component) error {
	need, dirs := uint64(warmNeed), []string{b.Cache}
	for _, c := range builds {
		_, built, err := b.Path(c)
		if err != nil {
			return err
		}
		if !built && need != coldNeed {
			need = coldNeed
			out, err := exec.CommandContext(ctx, "go", "env", "GOCACHE", "GOMODCACHE").Output()
			if err != nil {
				return fmt.Errorf("the go command cannot be run: %w: install Go and put it on PATH", err)
			}
			dirs = append(dirs, strings.Fields(string(out))...)
		}
	}
	var errs []error
	for _, dir := range dirs {
		have, at, err := space(dir)
		if err != nil {
			errs = append(errs, err)
		} else if have < need {
			errs = append(errs, fmt.Errorf("%.1f GiB are free at %s, the lab needs %.1f: free some, or set XDG_CACHE_HOME, GOCACHE or GOMODCACHE to a larger disk", float64(have)/gib, at, float64(need)/gib))
		}
	}
	return errors.Join(errs...)
}

// space returns the free bytes at the nearest existing directory.
func space(dir string) (free uint64, at string, err error) {
	for at = dir; ; at = filepath.Dir(at) {
		var fs unix.Statfs_t
		err := unix.Statfs(at, &fs)
		if err == nil {
			return fs.Bavail * uint64(fs.Bsize), at, nil
		}
		if !errors.Is(err, unix.ENOENT) || at == filepath.Dir(at) {
			return 0, at, fmt.Errorf("free space at %s: %w", at, err)
		}
	}
}

func memoryAvailable() (bytes uint64, ok bool) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(info)) {
		var kib uint64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10, true
		}
	}
	return 0, false
}

func lastLines(out []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-n):], "\n  ")
}
