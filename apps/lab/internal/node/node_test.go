//go:build linux

package node_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
)

// What the test's binary is when it starts itself.
const (
	parentArg = "parent-of-a-node"
	echoArg   = "echo-server"
)

// patience is how long a test waits for what takes milliseconds.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	node.Main()
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case parentArg:
			parent()
		case echoArg:
			echo()
		}
	}
	goleak.VerifyTestMain(m)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes namespaces and mounts")
	}
}

// newSpec returns a node whose processes log into logs.
func newSpec(dir, logs string, processes ...node.Process) node.Spec {
	return node.Spec{
		Name: "node-of-a-test", Dir: dir,
		Binds:     map[string]string{"/var/log/lab": logs},
		Data:      []string{"/var/lib/data"},
		Empty:     []string{"/etc/apt"},
		Files:     map[string]string{"/etc/resolv.conf": "", "/etc/lab/test": "of the test\n"},
		Shadowed:  []string{"kernel/panic"},
		Path:      "/usr/sbin:/usr/bin:/sbin:/bin",
		LogDir:    "/var/log/lab",
		Processes: processes,
	}
}

// start starts and boots a node that ends with the test.
func start(t *testing.T, spec node.Spec, opts node.Options) *node.Node {
	t.Helper()
	opts.Log = os.Stderr
	n, err := node.Start(spec, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(t, n) })
	if spec.Forward != "" {
		loopbackUp(t, n)
	}
	if err := n.Boot(); err != nil {
		t.Fatal(err)
	}
	return n
}

// kill ends the node and waits for its last event.
func kill(t *testing.T, n *node.Node) {
	t.Helper()
	// A clean-up's context is over already.
	if err := n.Kill(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	for range n.Events() {
	}
}

// wantEvent takes the node's next event and returns it.
func wantEvent(t *testing.T, n *node.Node, process string, state node.State) node.Event {
	t.Helper()
	select {
	case e := <-n.Events():
		if e.Process != process || e.State != state {
			t.Fatalf("event %+v, want %s %s", e, process, state)
		}
		return e
	case <-time.After(patience):
		t.Fatalf("no event came, want %s %s", process, state)
	}
	panic("unreachable")
}

func TestNode(t *testing.T) {
	needRoot(t)
	dir, logs := t.TempDir(), t.TempDir()
	const look = `hostname; wc -c </etc/resolv.conf; cat /etc/lab/test; ls -d /etc/apt /.host 2>/dev/null
stat -f -c %T /var/lib/data; grep -c : /proc/net/dev`
	n := start(t, newSpec(dir, logs,
		node.Process{Name: "look", Once: true, Done: "/run/lab/looked", Args: []string{"sh", "-c", look}},
		node.Process{Name: "stay", After: []string{"/run/lab/looked", "/run/lab/go"}, Args: []string{"sleep", "600"}},
		node.Process{Name: "fail", After: []string{"/run/lab/fail"}, Args: []string{"false"}},
	), node.Options{})

	wantEvent(t, n, "look", node.Started)
	wantEvent(t, n, "look", node.Done)
	got, err := os.ReadFile(filepath.Join(logs, "look.log"))
	if err != nil {
		t.Fatal(err)
	}
	links, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", n.Pid))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("node-of-a-test\n0\nof the test\ntmpfs\n%d\n", strings.Count(string(links), ":"))
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("inside the node (-want +got):\n%s", diff)
	}

	if err := n.WriteFile("/run/lab/go", nil); err != nil {
		t.Fatal(err)
	}
	wantEvent(t, n, "stay", node.Started)
	if err := n.WriteFile("/run/lab/fail", nil); err != nil {
		t.Fatal(err)
	}
	wantEvent(t, n, "fail", node.Started)
	if e := wantEvent(t, n, "fail", node.Failed); e.Error != "exit status 1" {
		t.Errorf("error %q, want exit status 1", e.Error)
	}
	out, err := n.Command(t.Context(), []string{"WHO=me"}, "sh", "-c", "echo $WHO on $(hostname)").CombinedOutput()
	if err != nil || string(out) != "me on node-of-a-test\n" {
		t.Errorf("a command in the node prints %q, %v", out, err)
	}

	inside := processes(t, n.Pid)
	if len(inside) < 3 { // the first process, its child, sleep
		t.Errorf("%d processes are in the node, want at least 3", len(inside))
	}
	kill(t, n)
	if n.Alive() {
		t.Error("the node is alive after Kill")
	}
	for _, pid := range inside {
		waitEnd(t, pid)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the node leaves %v in its directory (%v), want nothing", left, err)
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("the node leaves a mount at %s (%v)", dir, err)
	}
}

// A node sets what is its own, its network's, and a copy of what is shadowed. The
// machine's settings stay as they are, and what else the node tries is refused.
func TestKernelSettings(t *testing.T) {
	needRoot(t)
	settings := map[string]string{"kernel/panic": "7", "vm/swappiness": "7", "net/ipv4/ip_forward": "1", "net/ipv4/ip_default_ttl": "7"}
	machine := func() map[string]string {
		values := map[string]string{}
		for name := range settings {
			value, err := os.ReadFile(filepath.Join("/proc/sys", name))
			if err != nil {
				t.Fatal(err)
			}
			values[name] = strings.TrimSpace(string(value))
		}
		return values
	}
	before, logs := machine(), t.TempDir()
	var script strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&script, "echo %s >/proc/sys/%s; cat /proc/sys/%[2]s\n", settings[name], name)
	}
	// Cgroups are made for pods: on v2 at the root, on v1 in each hierarchy.
	script.WriteString("touch /sys/kernel/x; cd $(dirname $(ls /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs 2>&- | head -1)) && mkdir lab-$$ && rmdir lab-$$ && echo cgroups")
	spec := newSpec(t.TempDir(), logs, node.Process{Name: "set", Once: true, Args: []string{"sh", "-c", script.String()}})
	spec.Sysctls = map[string]string{"ipv4/ip_forward": "1"}
	n := start(t, spec, node.Options{})
	wantEvent(t, n, "set", node.Started)
	wantEvent(t, n, "set", node.Done)
	got, err := os.ReadFile(filepath.Join(logs, "set.log"))
	if err != nil {
		t.Fatal(err)
	}
	const refused = "Read-only file system"
	lines := strings.Split(string(got), "\n")
	want := []string{"7", "7", "1", refused, before["vm/swappiness"], refused, "cgroups", ""} // in the settings' order
	for i := range lines {
		if strings.HasSuffix(lines[i], refused) {
			lines[i] = refused
		}
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("in the node (-want +got):\n%s", diff)
	}
	kill(t, n)
	if diff := cmp.Diff(before, machine()); diff != "" {
		t.Errorf("the machine's settings (-before +after):\n%s", diff)
	}
}

func TestAlive(t *testing.T) {
	n := &node.Node{Name: "x", Pid: os.Getpid(), Born: 1}
	if n.Alive() {
		t.Error("another process with the node's pid passes for the node")
	}
	if err := n.Kill(t.Context()); err != nil { // and is not killed
		t.Error(err)
	}
}
