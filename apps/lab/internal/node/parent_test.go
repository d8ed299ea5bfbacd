//go:build linux

package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
)

func TestParentKilled(t *testing.T) {
	needRoot(t)
	tests := []struct {
		name     string
		detached bool
	}{
		{"the node dies with its parent", false},
		{"a detached node lives on", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", parentArg, t.TempDir(), t.TempDir(), fmt.Sprint(tt.detached))
			cmd.Stderr = os.Stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var n node.Node
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			if err := json.NewDecoder(stdout).Decode(&n); err != nil {
				t.Fatalf("the parent did not start a node: %v, %v", err, cmd.Wait())
			}
			t.Cleanup(func() { _ = n.Kill(context.WithoutCancel(t.Context())) })
			inside := processes(t, n.Pid)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if tt.detached {
				if !n.Alive() {
					t.Error("the node ended with its parent")
				}
				if err := n.Kill(t.Context()); err != nil {
					t.Error(err)
				}
			}
			for _, fd := range inside {
				waitEnd(t, fd)
			}
		})
	}
}

// parent starts a node, tells of it once its process runs, and waits for its end.
func parent() {
	spec := newSpec(os.Args[2], os.Args[3], node.Process{Name: "stay", Args: []string{"sleep", "600"}})
	n, err := node.Start(spec, node.Options{})
	if err == nil {
		err = n.Boot()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-n.Events()
	if os.Args[4] == "true" {
		if err := n.Detach(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(n)
	select {}
}

// processes returns the pidfds of all processes in the pid namespace of one.
func processes(t *testing.T, pid int) (fds []int) {
	t.Helper()
	namespace := func(dir string) string {
		ns, _ := os.Readlink(filepath.Join(dir, "ns", "pid"))
		return ns
	}
	want := namespace(fmt.Sprintf("/proc/%d", pid))
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || want == "" {
		t.Fatalf("no pid namespace of %d (%v)", pid, err)
	}
	for _, d := range dirs {
		if namespace(d) != want {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(filepath.Base(d), &pid); err != nil {
			t.Fatal(err)
		}
		fds = append(fds, pidfd(t, pid))
	}
	return fds
}

func pidfd(t *testing.T, pid int) int {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("pid %d: %v", pid, err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// waitEnd waits until the process of a pidfd has ended.
func waitEnd(t *testing.T, fd int) {
	t.Helper()
	n, err := 0, error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
	}
	if n != 1 || err != nil {
		t.Errorf("a process of the node still runs (%v)", err)
	}
}
