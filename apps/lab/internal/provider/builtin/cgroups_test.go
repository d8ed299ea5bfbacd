//go:build linux

package builtin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/builtin"
)

// pureV2 is the root of cgroup v2 on a machine: systemd hands a few controllers on.
var pureV2 = tree{
	"cgroup.controllers":     "cpuset cpu io memory hugetlb pids\n",
	"cgroup.subtree_control": "cpu memory pids\n",
	"cgroup.procs":           "1\n2\n",
}

// What a machine's cgroups lack is told with what to do, before anything is made.
func TestCheckCgroups(t *testing.T) {
	v1 := tree{}
	for _, name := range []string{"cpu,cpuacct", "cpuset", "memory", "pids", "systemd"} {
		v1[name+"/cgroup.procs"] = "1\n"
	}
	for _, test := range []struct {
		name string
		tree tree
		want []string // in the error; nil for none
	}{
		{name: "machine", tree: pureV2},
		{name: "container_without_processes_in_its_root", tree: pureV2.with(tree{"cgroup.type": "domain\n", "cgroup.procs": ""})},
		{
			name: "container_with_processes_in_its_root", tree: pureV2.with(tree{"cgroup.type": "domain\n"}),
			want: []string{"has processes (2)", "cannot hand on cpuset, io, hugetlb", "mkdir -p ROOT/init && xargs -rn1 <ROOT/cgroup.procs >ROOT/init/cgroup.procs"},
		},
		{name: "container_whose_root_hands_all_on", tree: pureV2.with(tree{"cgroup.type": "domain\n", "cgroup.subtree_control": pureV2["cgroup.controllers"]})},
		{
			name: "container_that_is_given_little", tree: pureV2.with(tree{"cgroup.controllers": "memory pids\n"}),
			want: []string{"is not given cpu, cpuset", "--privileged --cgroupns=host"},
		},
		{name: "v1", tree: v1},
		{name: "v1_without_cpuset", tree: v1.with(tree{"cpuset/cgroup.procs": ""}), want: []string{"has no cpuset", "mount"}},
		{name: "nothing_mounted", tree: tree{"x": "y"}, want: []string{"no cgroups at ROOT", "mount cgroup2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := test.tree.write(t)
			err := builtin.CheckCgroups(root)
			if (err == nil) != (test.want == nil) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			for _, want := range test.want {
				if want = strings.ReplaceAll(want, "ROOT", root); err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
		})
	}
}

// What the root did not hand on before is turned off when the last of the labs that
// asked for it has gone, whichever that is, and nothing else.
func TestTurnedOn(t *testing.T) {
	root := pureV2.write(t)
	changes := func() (asked []string) {
		content, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte(pureV2["cgroup.controllers"]), 0o600); err != nil {
			t.Fatal(err)
		}
		for line := range strings.FieldsSeq(string(content)) {
			if strings.ContainsAny(line[:1], "+-") {
				asked = append(asked, line)
			}
		}
		return asked
	}
	for _, path := range []string{"grpc-lb-a/node-1", "grpc-lb-a/node-2", "grpc-lb-b/node-1"} {
		if err := builtin.MakeCgroup(root, path); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"+cpuset", "+cpu", "+io", "+memory", "+hugetlb", "+pids"}, changes()); diff != "" {
			t.Errorf("asked of the root for %s (-want +got):\n%s", path, diff)
		}
	}
	for _, name := range []string{"grpc-lb-a", "grpc-lb-b"} { // the kernel refuses the first, since b uses them
		if err := builtin.RemoveCgroup(root, name); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"-cpuset", "-hugetlb", "-io"}, changes()); diff != "" {
			t.Errorf("asked of the root after %s (-want +got):\n%s", name, diff)
		}
	}
	if left, err := filepath.Glob(filepath.Join(root, "grpc-lb-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v (%v)", left, err)
	}
	if err := builtin.RemoveCgroup(root, "grpc-lb-c"); err != nil || len(changes()) > 0 {
		t.Errorf("removing what is not there: %v", err)
	}
}

// A cluster in another user's cache is told by its cgroups, as long as it runs.
func TestElsewhere(t *testing.T) {
	const checkout = "/checkout"
	mine := builtin.NewDirs("/home/me/.cache/grpc-lb", checkout)
	roots := builtin.NewDirs("/root/.cache/grpc-lb", checkout)
	procs := roots.Cgroup("node-1", "kubepods") + "/cgroup.procs"
	for _, test := range []struct {
		name string
		tree tree
		dirs builtin.Dirs
		want string // "" for nowhere
	}{
		{name: "root_has_one", tree: tree{procs: "12\n"}, dirs: mine, want: "/root/.cache/grpc-lb"},
		{name: "it_has_ended", tree: tree{procs: "\n"}, dirs: mine},
		{name: "it_is_ones_own", tree: tree{procs: "12\n"}, dirs: roots},
		{name: "none", dirs: mine},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := builtin.ElsewhereOf(pureV2.with(test.tree).write(t), test.dirs, checkout, "0", "", "4294967294")
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("elsewhere: %q, want %q", got, test.want)
			}
			if test.want != "" && !strings.Contains(got, `sudo env "PATH=$PATH" "HOME=/root"`) {
				t.Errorf("%q does not say how to reach it", got)
			}
		})
	}
}
