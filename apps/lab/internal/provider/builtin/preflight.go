//go:build linux

package builtin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/debian"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/sudo"
)

// needed maps each program that a node takes from the host to its Debian package.
var needed = map[string]string{
	"runc":    "runc",
	"nft":     "nftables",
	"nsenter": "util-linux",
}

const (
	gib         = 1 << 30
	mib         = 1 << 20
	memoryNeed  = 3 * gib
	imagesNeed  = gib // images, logs and what compiling the echo programs leaves
	kernelFiles = "/proc/filesystems"
)

// CheckUser returns an error unless this user may boot the cluster.
func CheckUser() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("the built-in cluster needs root to make namespaces, this is user %d: run: %s", os.Geteuid(), sudo.Line())
	}
	return nil
}

// preflight names everything that this machine lacks, each with its remedy.
func preflight(ctx context.Context, d Dirs, b component.Builder, builds []component.Component, detail func(string)) error {
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
	work, err := b.Work(builds)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, c := range work.Compile {
		errs = append(errs, b.CheckGo(ctx, c))
	}
	errs = append(errs, checkSpace(ctx, b, work.Compile), checkCgroups(cgroupRoot))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return try(ctx, d)
}

// checkSpace asks for room on every file system that building the components
// writes to.
func checkSpace(ctx context.Context, b component.Builder, missing []component.Component) error {
	modules := b.Cache // unless something is built
	if len(missing) > 0 {
		out, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
		if err != nil {
			return fmt.Errorf("the go command cannot be run: %w: install Go and put it on PATH", err)
		}
		modules = strings.TrimSpace(string(out))
	}
	var errs []error
	type disk struct {
		free, need uint64
		at         []string
	}
	disks := map[uint64]*disk{}
	add := func(dir string, need uint64) (device uint64) {
		device, free, at, err := space(dir)
		if err != nil {
			errs = append(errs, err)
			return 0
		}
		if disks[device] == nil {
			disks[device] = &disk{free: free}
		}
		disks[device].need = max(disks[device].need, need)
		disks[device].at = append(disks[device].at, at)
		return device
	}
	for _, stage := range stages(missing) {
		cache, sources := add(b.Cache, stage.cache), add(modules, stage.modules)
		if cache == sources {
			add(b.Cache, stage.cache+stage.modules)
		}
	}
	for _, device := range slices.Sorted(maps.Keys(disks)) {
		if d := disks[device]; d.free < d.need {
			slices.Sort(d.at)
			errs = append(errs, fmt.Errorf("%.1f GiB are free at %s, the lab needs %.1f: free some, or set XDG_CACHE_HOME or GOMODCACHE to a larger disk",
				float64(d.free)/gib, strings.Join(slices.Compact(d.at), " and "), float64(d.need)/gib))
		}
	}
	return errors.Join(errs...)
}

// stage is what lies on disk while one group of components is built, in bytes.
type stage struct {
	cache   uint64 // in the lab's cache
	modules uint64 // in Go's module cache
}

// stages returns what making the components takes, group after group: sources and
// programs stay, what a group was compiled to does not.
func stages(missing []component.Component) []stage {
	kept := stage{cache: imagesNeed}
	all := []stage{kept}
	for _, group := range component.Groups {
		compiled := 0
		for _, c := range group {
			if slices.ContainsFunc(missing, func(m component.Component) bool { return m.Name == c.Name }) {
				compiled += c.Space.Compiled
				kept.cache += uint64(c.Space.Programs) * mib
				kept.modules += uint64(c.Space.Sources) * mib
			}
		}
		all = append(all, stage{kept.cache + uint64(compiled)*mib, kept.modules})
	}
	return all
}

// space returns the device and the free bytes at the nearest existing directory.
func space(dir string) (device, free uint64, at string, err error) {
	for at = dir; ; at = filepath.Dir(at) {
		var fs unix.Statfs_t
		var file unix.Stat_t
		err := unix.Statfs(at, &fs)
		if err == nil {
			err = unix.Stat(at, &file)
		}
		if err == nil {
			return file.Dev, fs.Bavail * uint64(fs.Bsize), at, nil
		}
		if !errors.Is(err, unix.ENOENT) || at == filepath.Dir(at) {
			return 0, 0, at, fmt.Errorf("free space at %s: %w", at, err)
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
