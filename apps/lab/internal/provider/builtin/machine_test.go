//go:build linux

package builtin_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/builtin"
)

// What the test's binary is when it starts itself: a lab that is killed, or one that
// tries the machine.
const (
	labArg = "lab"
	tryArg = "try"
)

// The trial of a machine finds that this one can run nodes, and leaves nothing.
func TestTry(t *testing.T) {
	needRoot(t)
	d := newDirs(t)
	if err := builtin.Try(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(d.Cluster); err != nil || len(left) > 0 {
		t.Errorf("left %v (%v), want nothing", left, err)
	}
	for _, dir := range groups(t, d.Cgroup()+"-try") {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left (%v)", dir, err)
		}
	}
}

// What root may not do here is found by the trial, and told with what to do. The test
// runs itself with fewer rights, and in a mount namespace where cgroups are read-only.
func TestTryRefused(t *testing.T) {
	needRoot(t)
	readOnly := "mount --make-rprivate / && for d in $(dirname $(ls /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs 2>&-)); do mount -o remount,bind,ro $d || exit; done && exec "
	for _, test := range []struct {
		name  string
		under []string
		want  string
	}{
		{name: "nothing_refused", under: []string{"env"}, want: "<nil>\n"},
		{name: "no_namespaces", under: []string{"setpriv", "--bounding-set=-sys_admin"}, want: "operation not permitted: root has too few rights here: if this is a container, start it with --privileged"},
		{name: "no_network", under: []string{"setpriv", "--bounding-set=-net_admin"}, want: "--privileged"},
		{name: "read_only_cgroups", under: []string{"unshare", "--mount", "sh", "-c", readOnly + `"$0" "$@"`}, want: "read-only file system: root has too few rights"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDirs(t)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			args := slices.Concat(test.under[1:], []string{self, tryArg, d.Cache, d.ID, d.Cluster})
			said, err := exec.CommandContext(t.Context(), test.under[0], args...).CombinedOutput()
			if err != nil || !strings.Contains(string(said), test.want) {
				t.Errorf("it says %q, %v, want %q", said, err, test.want)
			}
			if left, err := os.ReadDir(d.Cluster); err != nil || len(left) > 0 {
				t.Errorf("left %v (%v), want nothing", left, err)
			}
		})
	}
}

// lab holds the lock, has a janitor and a cgroup, and waits to be killed; state says
// what the janitor finds.
func lab(d builtin.Dirs) {
	lock, err := d.Lock()
	if err == nil {
		defer lock.Close() // it is held as long as this is in use
		err = builtin.StartJanitor(d)
	}
	if err == nil {
		err = builtin.MakeCgroup(builtin.CgroupRoot, d.Cgroup("node-1"))
	}
	if err == nil {
		err = d.SaveState(os.Args[5] == "stays", node.Node{Name: "node-1", Pid: os.Getpid(), Born: 1})
	}
	fmt.Println(err)
	select {}
}

// What a killed lab leaves is removed by its janitor, unless it is a cluster that
// shall stay; whoever comes next is not told that the lab is still there.
func TestJanitor(t *testing.T) {
	needRoot(t)
	for _, test := range []string{"stays", "goes"} {
		t.Run(test, func(t *testing.T) {
			d := newDirs(t)
			cmd := exec.Command("/proc/self/exe", labArg, d.Cache, d.ID, d.Cluster, test)
			cmd.Stderr = os.Stderr
			said, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var word string
			if _, err := fmt.Fscanln(said, &word); err != nil || word != "<nil>" {
				t.Errorf("the lab says %q, %v", word, err)
			}
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			end := time.Now().Add(10 * time.Second)
			left := func() bool {
				_, err := os.Stat(d.State())
				return err == nil
			}
			came := func() bool {
				holder, _ := os.ReadFile(filepath.Join(d.Cluster, "lock.pid"))
				return string(holder) == "janitor\n"
			}
			for (!came() || left() && test == "goes") && time.Now().Before(end) {
				time.Sleep(10 * time.Millisecond)
			}
			lock, err := d.Lock()
			if err != nil {
				t.Fatalf("Lock after the lab was killed: %v", err)
			}
			defer lock.Close()
			if left() != (test == "stays") {
				t.Errorf("the state is left: %t", left())
			}
			for _, dir := range groups(t, d.Cgroup()) {
				if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) != (test == "goes") {
					t.Errorf("%s: %v", dir, err)
				}
			}
			if err := builtin.Down(t.Context(), d); err != nil {
				t.Error(err)
			}
			if log, err := os.ReadFile(filepath.Join(d.Cluster, "logs", "janitor.log")); err != nil || len(log) > 0 {
				t.Errorf("the janitor says %q (%v)", log, err)
			}
		})
	}
}

// A machine as slow as an emulated one gets more time, a fast one never less than
// the usual. This one is measured in a moment.
func TestPatience(t *testing.T) {
	for took, want := range map[time.Duration]float64{0: 1, 9 * time.Millisecond: 1, 312 * time.Millisecond: 31, time.Hour: builtin.MaxPatience} {
		if got := builtin.PatienceOf(took); got != want {
			t.Errorf("patience for %s is %g, want %g", took, got, want)
		}
	}
	start := time.Now()
	factor, err := builtin.Measure()
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); factor > 20 || took > 10*time.Second {
		t.Errorf("factor %g, measured in %s", factor, took)
	} else {
		t.Logf("factor %g, measured in %s", factor, took)
	}
}
