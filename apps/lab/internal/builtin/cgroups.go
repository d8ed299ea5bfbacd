//go:build linux

package builtin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroupHierarchies lists the mounted hierarchies: one on cgroup v2, one a
// controller on v1.
func cgroupHierarchies() ([]string, error) {
	if unified(cgroupRoot) {
		return []string{cgroupRoot}, nil
	}
	dirs, err := filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs"))
	if err != nil || len(dirs) == 0 {
		return nil, fmt.Errorf("builtin: no cgroups at %s: mount cgroup2 there", cgroupRoot)
	}
	var roots []string
	for _, d := range dirs {
		roots = append(roots, filepath.Dir(d))
	}
	return roots, nil
}

// unified reports whether cgroup v2 alone is mounted at root.
func unified(root string) bool {
	_, err := os.Stat(filepath.Join(root, "cgroup.controllers"))
	return err == nil
}

// makeCgroup makes a group in every hierarchy. Each kubelet needs one of its
// own, or it ends the other nodes' pods as orphans.
func makeCgroup(path string) error {
	roots, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		dir := root
		for elem := range strings.SplitSeq(path, string(filepath.Separator)) {
			parent := dir
			dir = filepath.Join(dir, elem)
			if err := delegate(parent); err != nil {
				return err
			}
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("builtin: making a cgroup: %w", err)
			}
			if err := inherit(parent, dir); err != nil {
				return err
			}
		}
		if err := delegate(dir); err != nil {
			return err
		}
	}
	return nil
}

// delegate hands a v2 group's controllers on to its children.
func delegate(dir string) error {
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for c := range strings.FieldsSeq(string(controllers)) {
		err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0)
		if err != nil && (c == "cpu" || c == "memory" || c == "pids") {
			return fmt.Errorf("builtin: cgroup %s does not hand on %s: %w", dir, c, err)
		}
	}
	return nil
}

// inherit copies what a new v1 cpuset lacks and cannot be used without.
func inherit(parent, dir string) error {
	for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, f))
		if err != nil || len(strings.TrimSpace(string(value))) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, f), value, 0); err != nil {
			return fmt.Errorf("builtin: cgroup %s: %w", dir, err)
		}
	}
	return nil
}

// removeCgroup removes a group and those below it from every hierarchy. A
// group stays busy for a moment after its last process has ended.
func removeCgroup(path string) error {
	roots, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		dir := filepath.Join(root, path)
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) { //nolint:forbidigo // cgroups of v1 tell nobody when they are free
			if err = removeGroups(dir); !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
				break
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("builtin: removing a cgroup: %w", err))
		}
	}
	return errors.Join(errs...)
}

func removeGroups(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeGroups(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
