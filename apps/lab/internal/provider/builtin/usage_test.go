//go:build linux

package builtin_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/builtin"
)

// tree is a directory of fixture files, path to content.
type tree map[string]string

func (f tree) write(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	for path, content := range f {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// with returns a copy with some files added or, where empty, taken away.
func (f tree) with(changes tree) tree {
	f = maps.Clone(f)
	maps.Copy(f, changes)
	maps.DeleteFunc(f, func(_, content string) bool { return content == "" })
	return f
}

// container returns the files of a container's group; n tells them apart.
type container func(group string, n int, pids string) tree

func containerV1(group string, n int, pids string) tree {
	return tree{
		"cpu,cpuacct/" + group + "/cpuacct.usage":    fmt.Sprintf("%d000000001\n", n),
		"cpu,cpuacct/" + group + "/cgroup.procs":     pids,
		"memory/" + group + "/memory.usage_in_bytes": fmt.Sprintf("%d048576\n", n),
		"memory/" + group + "/memory.stat":           "cache 5\ninactive_file 7\nhierarchical_memory_limit 9\ntotal_cache 5\ntotal_inactive_file 48576\n",
		"memory/" + group + "/cgroup.procs":          pids,
	}
}

func containerV2(group string, n int, pids string) tree {
	return tree{
		group + "/cpu.stat":       fmt.Sprintf("usage_usec %d000001\nuser_usec 3\nsystem_usec 4\n", n),
		group + "/memory.current": fmt.Sprintf("%d048576\n", n),
		group + "/memory.stat":    "anon 5\ninactive_anon 6\ninactive_file 48576\n",
		group + "/cgroup.procs":   pids,
	}
}

const (
	node1, node2 = "lab/node-1", "lab/node-2"
	podA         = node1 + "/kubepods/burstable/poda"
)

// running are a pod of each quality of service, two of them on another node, a
// pod of a node of nobody's, and the groups that kubelets have around them.
func running(c container, files tree) tree {
	for _, more := range []tree{
		c(podA, 9, "16\n"), c(podA+"/a1", 1, "11\n12\n"), c(podA+"/a2", 2, "13\n"),
		c(node2+"/kubepods/besteffort/podb/b1", 3, "14\n"),
		c(node2+"/kubepods/podc/c1", 4, "15\n"),
		c("other/node-1/kubepods/podd/d1", 5, "16\n"),
	} {
		files = files.with(more)
	}
	return files
}

var (
	hybrid  = running(containerV1, tree{"cpu,cpuacct/cpuacct.usage": "1\n", "memory/memory.usage_in_bytes": "1\n", "unified/cgroup.procs": "1\n"})
	unified = running(containerV2, tree{"cgroup.controllers": "cpu memory pids\n"})
	procs   = tree{"11/comm": "sh\n", "12/comm": "echo-server\n", "13/comm": "my envoy:\n", "14/comm": "pause\n", "15/comm": "pause\n", "16/comm": "x\n", "17/comm": "awk\n"}
)

// Each container of the pods asked for, and of no others, is told by either
// version of cgroups; what is half made or half gone is left out.
func TestUsage(t *testing.T) {
	tests := []struct {
		name   string
		v1, v2 tree // what differs from hybrid and unified
		procs  tree // what differs from procs
		pods   []types.UID
		want   map[string]string // pod, CPU time in microseconds, memory, commands
	}{
		{
			name: "all", pods: []types.UID{"a", "b", "c"},
			want: map[string]string{
				"a1": "a 1s 1000000 [echo-server sh]", "a2": "a 2s 2000000 [my envoy:]",
				"b1": "b 3s 3000000 [pause]", "c1": "c 4s 4000000 [pause]",
			},
		},
		{name: "one", pods: []types.UID{"c"}, want: map[string]string{"c1": "c 4s 4000000 [pause]"}},
		{name: "none_asked_for"},
		{name: "no_such_pod", pods: []types.UID{"z", ""}},
		{name: "pod_of_another_cluster", pods: []types.UID{"d"}},
		{
			name: "groups_below", pods: []types.UID{"a"},
			v1:   tree{"memory/" + podA + "/a1/x/cgroup.procs": "17\n", "memory/" + podA + "/a1/x/y/cgroup.procs": "13\n"},
			v2:   tree{podA + "/a1/x/cgroup.procs": "17\n", podA + "/a1/x/y/cgroup.procs": "13\n"},
			want: map[string]string{"a1": "a 1s 1000000 [awk echo-server my envoy: sh]", "a2": "a 2s 2000000 [my envoy:]"},
		},
		{
			name: "process_gone", procs: tree{"11/comm": ""}, pods: []types.UID{"a"},
			want: map[string]string{"a1": "a 1s 1000000 [echo-server]", "a2": "a 2s 2000000 [my envoy:]"},
		},
		{
			name: "all_processes_gone", procs: tree{"11/comm": "", "12/comm": ""}, pods: []types.UID{"a"},
			want: map[string]string{"a2": "a 2s 2000000 [my envoy:]"},
		},
		{
			name: "less_used_than_inactive", pods: []types.UID{"c"},
			v1:   tree{"memory/" + node2 + "/kubepods/podc/c1/memory.usage_in_bytes": "48575\n"},
			v2:   tree{node2 + "/kubepods/podc/c1/memory.current": "48575\n"},
			want: map[string]string{"c1": "c 4s 0 [pause]"},
		},
	}
	for _, tt := range tests {
		proc := procs.with(tt.procs).write(t)
		for version, root := range map[string]string{"v1": hybrid.with(tt.v1).write(t), "v2": unified.with(tt.v2).write(t)} {
			t.Run(tt.name+"_"+version, func(t *testing.T) {
				before := time.Now()
				usage, err := builtin.UsageBelow(t.Context(), root, proc, []string{node1, node2}, tt.pods)
				if err != nil {
					t.Fatal(err)
				}
				got := map[string]string{}
				for id, u := range usage {
					if u.Time.Before(before) || u.Time.After(time.Now()) {
						t.Errorf("%s was read at %s, want a time since %s", id, u.Time, before)
					}
					got[id] = fmt.Sprint(u.Pod, " ", u.CPU.Truncate(time.Microsecond*10), " ", u.WorkingSet, " ", u.Commands)
				}
				if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("usage (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// CPU time has the resolution of its counter.
func TestUsageResolution(t *testing.T) {
	for root, want := range map[string]time.Duration{
		hybrid.write(t):  time.Second + time.Nanosecond,
		unified.write(t): time.Second + time.Microsecond,
	} {
		usage, err := builtin.UsageBelow(t.Context(), root, procs.write(t), []string{node1}, []types.UID{"a"})
		if got := usage["a1"].CPU; got != want || err != nil {
			t.Errorf("CPU time = %s, %v, want %s", got, err, want)
		}
	}
}

// A container that one hierarchy has no longer, or not yet, is left out: with
// version 1 they are made and removed one after another.
func TestUsageHalfThere(t *testing.T) {
	root := hybrid.write(t)
	if err := os.RemoveAll(filepath.Join(root, "cpu,cpuacct", podA, "a1")); err != nil {
		t.Fatal(err)
	}
	usage, err := builtin.UsageBelow(t.Context(), root, procs.write(t), []string{node1}, []types.UID{"a"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a2"}, slices.Collect(maps.Keys(usage))); diff != "" {
		t.Errorf("containers (-want +got):\n%s", diff)
	}
}

// What the kernel does not count, and what is no number, is an error that says
// where.
func TestUsageRefusals(t *testing.T) {
	tests := []struct {
		name        string
		files       tree
		unsupported bool
		want        string // part of the error
	}{
		{name: "no_cgroups", files: tree{"x": "x"}, unsupported: true, want: "no cgroup hierarchy at "},
		{name: "v1_without_cpuacct", files: hybrid.with(tree{"cpu,cpuacct/cpuacct.usage": ""}), unsupported: true, want: "has cpuacct.usage"},
		{name: "v1_without_memory", files: hybrid.with(tree{"memory/memory.usage_in_bytes": ""}), unsupported: true, want: "has memory.usage_in_bytes"},
		{name: "v2_without_memory", files: unified.with(tree{podA + "/a1/memory.current": ""}), unsupported: true, want: "poda/a1 has no memory.current"},
		{name: "v1_no_number", files: hybrid.with(tree{"cpu,cpuacct/" + podA + "/a1/cpuacct.usage": "1 s\n"}), want: `cpuacct.usage: "" is "1 s": expected a number`},
		{name: "v1_no_field", files: hybrid.with(tree{"memory/" + podA + "/a1/memory.stat": "inactive_file 7\n"}), want: `memory.stat: "total_inactive_file" is ""`},
		{name: "v2_no_field", files: unified.with(tree{podA + "/a1/cpu.stat": "usage_used 7\n"}), want: `cpu.stat: "usage_usec" is ""`},
		{name: "v2_negative", files: unified.with(tree{podA + "/a1/memory.current": "-1\n"}), want: `is "-1"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			usage, err := builtin.UsageBelow(t.Context(), tt.files.write(t), procs.write(t), []string{node1}, []types.UID{"a"})
			if usage != nil || err == nil || !strings.HasPrefix(err.Error(), "builtin: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("usage = %v, %v, want an error with %q", usage, err, tt.want)
			}
			if got := errors.Is(err, errors.ErrUnsupported); got != tt.unsupported {
				t.Errorf("%v: unsupported = %t, want %t", err, got, tt.unsupported)
			}
		})
	}
}

func TestUsageCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := builtin.UsageBelow(ctx, hybrid.write(t), procs.write(t), []string{node1}, []types.UID{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("usage = %v, want %v", err, context.Canceled)
	}
}

// This machine's own kernel tells of a process that runs in a container's group,
// and nothing of it once it has ended and the group is removed.
func TestUsageOfKernel(t *testing.T) {
	needRoot(t)
	node := fmt.Sprintf("grpc-lb-test-usage-%d", os.Getpid())
	pod := filepath.Join(node, "kubepods", "podk")
	if err := builtin.MakeCgroup(builtin.CgroupRoot, pod); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := builtin.RemoveCgroup(builtin.CgroupRoot, node); err != nil {
			t.Error(err)
		}
	}()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "read wait; exec sleep 600")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	defer end()
	for _, dir := range groups(t, filepath.Join(pod, "k1")) {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(dir))))) == "cpuset" {
			continue // it takes no process before it has processors
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stdin.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	read := func() map[string]cluster.Usage {
		usage, err := builtin.UsageBelow(t.Context(), "/sys/fs/cgroup", "/proc", []string{node}, []types.UID{"k"})
		if err != nil {
			t.Fatal(err)
		}
		return usage
	}
	tooLate := time.After(10 * time.Second)
	usage := read()
	for !slices.Equal(usage["k1"].Commands, []string{"sleep"}) || usage["k1"].CPU == 0 { // which the kernel adds up when it sleeps
		select {
		case <-tooLate:
			t.Fatalf("usage = %+v, want that of sleep", usage)
		case <-time.After(5 * time.Millisecond):
		}
		usage = read()
	}
	if u := usage["k1"]; len(usage) != 1 || u.Pod != "k" || u.CPU <= 0 || u.CPU > time.Minute || u.WorkingSet <= 0 || u.WorkingSet > 1<<30 {
		t.Errorf("usage = %+v, want that of one sleep", usage)
	}
	end()
	if usage := read(); len(usage) != 0 {
		t.Errorf("usage of a container that has ended = %+v, want none", usage)
	}
}
