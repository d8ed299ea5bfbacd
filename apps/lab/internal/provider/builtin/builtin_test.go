//go:build linux

package builtin_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/builtin"
)

func TestMain(m *testing.M) {
	builtin.Main()
	if len(os.Args) > 4 {
		d := builtin.Dirs{Dirs: dirs.Dirs{Cache: os.Args[2], ID: os.Args[3], Cluster: os.Args[4]}}
		switch os.Args[1] {
		case labArg:
			lab(d)
		case tryArg:
			fmt.Println(builtin.Try(context.Background(), d))
			return
		}
	}
	goleak.VerifyTestMain(m)
}

// newDirs returns the made directories of a checkout of its own.
func newDirs(t *testing.T) builtin.Dirs {
	t.Helper()
	d := builtin.NewDirs(t.TempDir(), t.TempDir())
	if err := os.MkdirAll(d.Cluster, 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCheckoutsDoNotCollide(t *testing.T) {
	a, b := builtin.NewDirs("/cache", "/a"), builtin.NewDirs("/cache", "/b")
	if a.ID == b.ID || a.Cluster == b.Cluster || a.Cgroup() == b.Cgroup() {
		t.Errorf("two checkouts share something: %+v, %+v", a, b)
	}
	if again := builtin.NewDirs("/cache", "/a"); a != again {
		t.Errorf("NewDirs = %+v, then %+v, want the same", a, again)
	}
}

// ended returns the pid of a process that has ended.
func ended(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestFind(t *testing.T) {
	tests := []struct {
		name string
		node *node.Node // nil for no state at all
	}{
		{"no cluster ever", nil},
		{"its node has ended", &node.Node{Name: "node-1", Pid: ended(t), Born: 1}},
		{"its node's pid is another process", &node.Node{Name: "node-1", Pid: os.Getpid(), Born: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDirs(t)
			if tt.node != nil {
				if err := d.SaveNodes(*tt.node); err != nil {
					t.Fatal(err)
				}
			}
			if c, err := builtin.Find(d); c != nil || err != nil {
				t.Errorf("Find = %v, %v, want nil, nil", c, err)
			}
		})
	}
}

func TestFindUnreadable(t *testing.T) {
	d := newDirs(t)
	if err := os.WriteFile(d.State(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := builtin.Find(d); err == nil || !strings.Contains(err.Error(), d.State()) {
		t.Errorf("Find = %v, want an error that names %s", err, d.State())
	}
}

func TestDown(t *testing.T) {
	needRoot(t)
	d := newDirs(t)
	if err := d.SaveNodes(node.Node{Name: "node-1", Pid: ended(t), Born: 1}); err != nil {
		t.Fatal(err)
	}
	mountPoint, log := filepath.Join(d.Cluster, "nodes", "node-1"), filepath.Join(d.Cluster, "logs", "node-1")
	for _, dir := range []string{mountPoint, log} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := builtin.MakeCgroup(builtin.CgroupRoot, d.Cgroup("node-1")); err != nil {
		t.Fatal(err)
	}
	if err := builtin.Down(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	for _, gone := range append(groups(t, d.Cgroup()), d.State(), filepath.Dir(mountPoint)) {
		if _, err := os.Stat(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("down leaves %s (%v)", gone, err)
		}
	}
	if _, err := os.Stat(log); err != nil {
		t.Errorf("down takes the logs: %v", err)
	}
	if err := builtin.Down(t.Context(), d); err != nil {
		t.Errorf("second Down = %v, want none", err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes cgroups")
	}
}

// groups returns the directories of a group, one a hierarchy.
func groups(t *testing.T, path string) (dirs []string) {
	t.Helper()
	roots, err := builtin.CgroupHierarchies(builtin.CgroupRoot)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range roots {
		dirs = append(dirs, filepath.Join(r, path))
	}
	return dirs
}

func TestCgroup(t *testing.T) {
	needRoot(t)
	path := fmt.Sprintf("grpc-lb-test-%d", os.Getpid())
	for range 2 { // the second finds what the first made
		if err := builtin.MakeCgroup(builtin.CgroupRoot, filepath.Join(path, "a", "b")); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range groups(t, filepath.Join(path, "a", "b")) {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
			t.Errorf("no cgroup was made: %v", err)
		}
	}
	for range 2 { // the second finds nothing
		if err := builtin.RemoveCgroup(builtin.CgroupRoot, path); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range groups(t, path) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left (%v)", dir, err)
		}
	}
}

func TestListen(t *testing.T) {
	first, err := builtin.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	port := first.Addr().(*net.TCPAddr).Port
	_, err = builtin.Listen(port)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port %d", port)) || !strings.Contains(err.Error(), "--api-port") {
		t.Errorf("Listen on a port taken = %v, want an error that names port %d and --api-port", err, port)
	}
}
