//go:build linux

package builtin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// controllers are those that a kubelet cannot do without.
var controllers = []string{"cpu", "cpuset", "memory", "pids"}

// turnedOn begins the name of a group of v2 that says which controllers the root did
// not hand on before the lab: turned-on+cpuset+hugetlb. It outlives the lab's processes.
const turnedOn = "turned-on"

// cgroupHierarchies lists the mounted hierarchies: one on cgroup v2, one a
// controller on v1.
func cgroupHierarchies(root string) ([]string, error) {
	if unified(root) {
		return []string{root}, nil
	}
	dirs, err := filepath.Glob(filepath.Join(root, "*", "cgroup.procs"))
	if err != nil || len(dirs) == 0 {
		return nil, fmt.Errorf("builtin: no cgroups at %s: mount cgroup2 there", root)
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

// checkCgroups tells what the hierarchies at root lack, as far as that can be read.
func checkCgroups(root string) error {
	roots, err := cgroupHierarchies(root)
	if err != nil {
		return err
	}
	if !unified(root) {
		var have []string
		for _, r := range roots {
			have = append(have, strings.Split(filepath.Base(r), ",")...)
		}
		if lacks := without(controllers, have); len(lacks) > 0 {
			return fmt.Errorf("cgroup v1 at %s has no %s: mount what is missing, or boot with systemd.unified_cgroup_hierarchy=1", root, strings.Join(lacks, ", "))
		}
		return nil
	}
	have := words(filepath.Join(root, "cgroup.controllers"))
	if lacks := without(controllers, have); len(lacks) > 0 {
		return fmt.Errorf("cgroup v2 at %s is not given %s: in a container, start it with --privileged --cgroupns=host; else turn them on in cgroup.subtree_control of the groups above", root, strings.Join(lacks, ", "))
	}
	_, err = os.Stat(filepath.Join(root, "cgroup.type")) // the machine's own root has none
	pids := words(filepath.Join(root, "cgroup.procs"))
	if lacks := without(have, words(filepath.Join(root, control))); err == nil && len(pids) > 0 && len(lacks) > 0 {
		return fmt.Errorf("the cgroup %[1]s has processes (%[2]d) and so cannot hand on %[3]s: move them with `mkdir -p %[1]s/init && xargs -rn1 <%[1]s/cgroup.procs >%[1]s/init/cgroup.procs`",
			root, len(pids), strings.Join(lacks, ", "))
	}
	return nil
}

// words returns those of a file; none where it cannot be read.
func words(file string) []string {
	content, _ := os.ReadFile(file)
	return strings.Fields(string(content))
}

// without returns what of all is not in some.
func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
}

// makeCgroup makes a group in every hierarchy. Each kubelet needs one of its
// own, or it ends the other nodes' pods as orphans.
func makeCgroup(root, path string) error {
	roots, err := cgroupHierarchies(root)
	if err != nil {
		return err
	}
	for _, root := range roots {
		dir := root
		for elem := range strings.SplitSeq(path, string(filepath.Separator)) {
			parent := dir
			dir = filepath.Join(dir, elem)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("builtin: making a cgroup: %w", err)
			}
			if parent == root {
				if err := note(root, dir); err != nil {
					return err
				}
			}
			if err := delegate(parent); err != nil {
				return err
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

// note notes, in a group of the lab's, what the root does not hand on yet, and what
// it does only for another lab: the last one turns it off. Programs in the nodes turn
// on what there is, so all of it counts.
func note(root, group string) error {
	all := without(words(filepath.Join(root, "cgroup.controllers")), words(filepath.Join(root, control)))
	for _, name := range noted(filepath.Join(root, "grpc-lb-*")) {
		all = append(all, without([]string{name}, all)...)
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	err := os.Mkdir(filepath.Join(group, turnedOn+"+"+strings.Join(all, "+")), 0o755)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("builtin: making a cgroup: %w", err)
	}
	return nil
}

// noted returns the controllers that the groups of a pattern note.
func noted(groups string) (all []string) {
	notes, _ := filepath.Glob(filepath.Join(groups, turnedOn+"+*"))
	for _, n := range notes {
		all = append(all, strings.Split(filepath.Base(n), "+")[1:]...)
	}
	return all
}

// turnOff undoes at the root what a group notes, unless others use it.
func turnOff(root, group string) error {
	for _, c := range noted(group) {
		for _, dir := range []string{group, root} {
			err := write(dir, "-"+c)
			if err != nil && !errors.Is(err, syscall.EBUSY) && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("builtin: cgroup %s: turning %s off: %w", dir, c, err)
			}
		}
	}
	return nil
}

// control is the file of v2 by which a group hands controllers on.
const control = "cgroup.subtree_control"

// write asks the kernel for one change, which adds to those before it.
func write(dir, change string) error {
	f, err := os.OpenFile(filepath.Join(dir, control), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(change + "\n")
	return errors.Join(err, f.Close())
}

// delegate hands a v2 group's controllers on to its children.
func delegate(dir string) error {
	for _, c := range words(filepath.Join(dir, "cgroup.controllers")) {
		if err := write(dir, "+"+c); err != nil && slices.Contains(controllers, c) {
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

// removeCgroup removes a group of the root and those below it from every hierarchy,
// and what was turned on for it. A group stays busy for a moment after its last
// process has ended.
func removeCgroup(root, name string) error {
	roots, err := cgroupHierarchies(root)
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		dir := filepath.Join(root, name)
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) { //nolint:forbidigo // cgroups of v1 tell nobody when they are free
			if err = removeNoted(root, dir); !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
				break
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("builtin: removing a cgroup: %w", err))
		}
	}
	return errors.Join(errs...)
}

// removeNoted removes a group; its notes go last, when they have been followed.
func removeNoted(root, dir string) error {
	groups, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for _, g := range groups {
		if info, err := os.Stat(g); err == nil && info.IsDir() && !strings.HasPrefix(filepath.Base(g), turnedOn) {
			if err := removeGroups(g); err != nil {
				return err
			}
		}
	}
	if err := turnOff(root, dir); err != nil {
		return err
	}
	return removeGroups(dir)
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
