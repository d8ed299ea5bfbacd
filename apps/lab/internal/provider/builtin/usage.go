//go:build linux

package builtin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
)

// Usage implements cluster.Cluster. The nodes share the host's kernel, whose
// cgroups therefore hold every container.
func (c *Cluster) Usage(ctx context.Context, pods ...types.UID) (map[string]cluster.Usage, error) {
	var nodes []string
	for _, n := range c.state.Nodes {
		nodes = append(nodes, c.dirs.cgroup(n.Name))
	}
	return usage(ctx, cgroupRoot, "/proc", nodes, pods)
}

// usage reads the containers of pods below the groups of nodes. Root and proc
// are where cgroups and processes are mounted.
func usage(ctx context.Context, root, proc string, nodes []string, pods []types.UID) (map[string]cluster.Usage, error) {
	k, err := findCounters(root)
	if err != nil {
		return nil, err
	}
	all := map[string]cluster.Usage{}
	for _, pod := range pods {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("builtin: usage of %d pods: %w", len(pods), context.Cause(ctx))
		}
		group, containers, err := findPod(k.memory, nodes, pod)
		if err != nil {
			return nil, fmt.Errorf("builtin: usage of pod %s: %w", pod, err)
		}
		for _, id := range containers {
			u, err := k.read(proc, filepath.Join(group, id))
			if gone(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("builtin: usage of container %s of pod %s: %w", id, pod, err)
			}
			if len(u.Commands) == 0 {
				continue // it has ended, or its first process is not there yet
			}
			u.Pod = pod
			all[id] = u
		}
	}
	return all, nil
}

// findPod returns a pod's group, as a path below a hierarchy, and the names of
// its containers' groups; none when there is no such pod.
func findPod(hierarchy string, nodes []string, pod types.UID) (group string, containers []string, err error) {
	for _, n := range nodes {
		for _, class := range []string{"burstable", "besteffort", ""} { // guaranteed pods have no level of their own
			group = filepath.Join(n, "kubepods", class, "pod"+string(pod))
			entries, err := os.ReadDir(filepath.Join(hierarchy, group))
			if gone(err) {
				continue
			}
			if err != nil {
				return "", nil, err
			}
			for _, e := range entries {
				if e.IsDir() {
					containers = append(containers, e.Name())
				}
			}
			return group, containers, nil
		}
	}
	return "", nil, nil
}

// counters is where a version of cgroups keeps what is read. Each counts the
// groups below it, too.
type counters struct {
	cpu, memory string // hierarchies
	cpuTime     string // file, in the cpu hierarchy
	cpuField    string // its field; empty when the file is the number
	cpuUnit     time.Duration
	used        string // file, in the memory hierarchy
	inactive    string // field of memory.stat
}

// findCounters returns those of the version that is mounted at root. On a
// hybrid machine version 1 has the controllers.
func findCounters(root string) (counters, error) {
	if unified(root) {
		return counters{
			cpu: root, memory: root,
			cpuTime: "cpu.stat", cpuField: "usage_usec", cpuUnit: time.Microsecond,
			used: "memory.current", inactive: "inactive_file",
		}, nil
	}
	k := counters{cpuTime: "cpuacct.usage", cpuUnit: time.Nanosecond, used: "memory.usage_in_bytes", inactive: "total_inactive_file"}
	// A hierarchy's name is a matter of the distribution: cpu,cpuacct or cpuacct.
	for file, hierarchy := range map[string]*string{k.cpuTime: &k.cpu, k.used: &k.memory} {
		found, err := filepath.Glob(filepath.Join(root, "*", file))
		if err != nil || len(found) == 0 {
			return k, fmt.Errorf("builtin: no cgroup hierarchy at %s has %s: %w", root, file, errors.ErrUnsupported)
		}
		*hierarchy = filepath.Dir(found[0])
	}
	return k, nil
}

// read returns the usage of one group. The error is fs.ErrNotExist when the
// group has been removed meanwhile.
func (k counters) read(proc, group string) (u cluster.Usage, err error) {
	cpu, memory := filepath.Join(k.cpu, group), filepath.Join(k.memory, group)
	ticks, err := readCounter(filepath.Join(cpu, k.cpuTime), k.cpuField)
	if err != nil {
		return u, err
	}
	u.Time, u.CPU = time.Now(), time.Duration(ticks)*k.cpuUnit
	used, err := readCounter(filepath.Join(memory, k.used), "")
	if err != nil {
		return u, err
	}
	inactive, err := readCounter(filepath.Join(memory, "memory.stat"), k.inactive)
	if err != nil {
		return u, err
	}
	u.WorkingSet = max(0, used-inactive) // two readings, so the second can be larger
	u.Commands, err = commands(proc, memory)
	slices.Sort(u.Commands)
	return u, err
}

// readCounter returns a number of a group: the file's only one, or that of a
// field of "name number" lines.
func readCounter(file, field string) (int64, error) {
	data, err := os.ReadFile(file)
	if withoutFile(file, err) { // or its group was made just now
		data, err = os.ReadFile(file)
	}
	if withoutFile(file, err) {
		return 0, fmt.Errorf("%s has no %s, its controller is off: %w", filepath.Dir(file), filepath.Base(file), errors.ErrUnsupported)
	}
	if err != nil {
		return 0, err
	}
	number := strings.TrimSpace(string(data))
	if field != "" {
		number = ""
		for line := range strings.Lines(string(data)) {
			if name, value, _ := strings.Cut(line, " "); name == field {
				number = strings.TrimSpace(value)
			}
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s: %q is %q: expected a number", file, field, number)
	}
	return n, nil
}

// withoutFile reports that a file could not be read because its group, which is
// there, does not have it.
func withoutFile(file string, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, err = os.Stat(filepath.Dir(file))
	return err == nil
}

// commands returns the names of the processes in a group and below it.
func commands(proc, dir string) (names []string, err error) {
	pids, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	for pid := range strings.FieldsSeq(string(pids)) {
		comm, err := os.ReadFile(filepath.Join(proc, pid, "comm"))
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		names = append(names, string(bytes.TrimSuffix(comm, []byte("\n"))))
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		below, err := commands(proc, filepath.Join(dir, e.Name()))
		if err != nil && !gone(err) {
			return nil, err
		}
		names = append(names, below...)
	}
	return names, nil
}

// gone reports that a group or process ended before or while it was read.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ESRCH)
}
