//go:build linux

package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// Node is a running node.
type Node struct {
	Name string
	Pid  int
	// Born is the first process's start time in clock ticks since boot: with it
	// a process that later got the same pid is not mistaken for the node.
	Born uint64

	events chan Event
	spec   []byte
	// lifeline is the only writing end of the first process's standard input:
	// the kernel closes it when this program ends, however it ends, and the node
	// then ends too, unless Detach wrote to it.
	lifeline *os.File
}

// Options says how a node is started.
type Options struct {
	// Log receives what the node's first process prints.
	Log *os.File
	// Listener, if any, is a socket of the host whose connections the node
	// forwards to Spec.Forward.
	Listener *net.TCPListener
}

const (
	arg0Init = "lab-node-init" // the first process: mounts, then reaps
	arg0Run  = "lab-node-run"  // its child: starts the node's processes

	detach = `"detach"` // JSON, as the spec before it
)

// Start makes the namespaces and starts the node's first process in them. The
// caller connects the node's network by its pid and then calls [Node.Boot].
func Start(spec Spec, opts Options) (*Node, error) {
	data, err := spec.encode()
	if err != nil {
		return nil, err
	}
	stdin, lifeline, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	eventsR, eventsW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, lifeline.Close())
	}
	defer eventsW.Close()
	cmd := &exec.Cmd{
		Path:   "/proc/self/exe",
		Args:   []string{arg0Init},
		Stdin:  stdin,
		Stdout: opts.Log,
		Stderr: opts.Log,
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWPID,
			Setsid:     true,
		},
		ExtraFiles: []*os.File{eventsW},
	}
	if opts.Listener != nil {
		f, err := opts.Listener.File()
		if err != nil {
			return nil, errors.Join(err, lifeline.Close(), eventsR.Close())
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("node: starting %s in namespaces of its own: %w", spec.Name, err), lifeline.Close(), eventsR.Close())
	}
	go func() { _ = cmd.Wait() }() // reaps it
	n := &Node{Name: spec.Name, Pid: cmd.Process.Pid, events: make(chan Event, 64), spec: data, lifeline: lifeline}
	n.Born, _ = born(n.Pid)
	go n.readEvents(eventsR)
	return n, nil
}

// Boot lets the node start its processes.
func (n *Node) Boot() error {
	_, err := n.lifeline.Write(n.spec)
	return err
}

// Detach lets the node outlive this program.
func (n *Node) Detach() error {
	_, err := n.lifeline.WriteString(detach)
	return errors.Join(err, n.lifeline.Close())
}

func (n *Node) readEvents(r io.ReadCloser) {
	defer close(n.events)
	defer r.Close()
	for d := json.NewDecoder(r); ; {
		var e Event
		if d.Decode(&e) != nil {
			return
		}
		n.events <- e
	}
}

// Events delivers what happens to the node's processes, until the node ends.
func (n *Node) Events() <-chan Event { return n.events }

// Path returns the host's path to a path of the node.
func (n *Node) Path(path string) string {
	return filepath.Join("/proc", strconv.Itoa(n.Pid), "root", path)
}

// WriteFile makes a file in the node whole: no process sees a part of it.
func (n *Node) WriteFile(path string, data []byte) error {
	tmp := n.Path(path + ".part")
	if err := os.MkdirAll(filepath.Dir(tmp), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, n.Path(path))
}

// Command returns a command that runs inside the node. It dies with the caller.
func (n *Node) Command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	enter := []string{"-t", strconv.Itoa(n.Pid), "-a", "-r", "-w", "--", "/usr/bin/env"}
	cmd := exec.CommandContext(ctx, "nsenter", append(append(enter, env...), args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Alive reports whether the node's first process runs.
func (n *Node) Alive() bool {
	b, running := born(n.Pid)
	return running && b == n.Born
}

// Kill ends every process of the node and waits until they are gone.
func (n *Node) Kill(ctx context.Context) error {
	if n.Alive() {
		if err := syscall.Kill(n.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("node: killing %s (pid %d): %w", n.Name, n.Pid, err)
		}
	}
	return poll.Until(ctx, 5*time.Millisecond, func(context.Context) (string, error) {
		if n.Alive() {
			return fmt.Sprintf("node: %s (pid %d) does not end", n.Name, n.Pid), nil
		}
		return "", nil
	})
}

// born returns a process's start time and whether it runs; a zombie does not.
func born(pid int) (ticks uint64, running bool) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, false
	}
	// The second field is the program's name in parentheses and may hold anything.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return 0, false
	}
	ticks, err = strconv.ParseUint(f[19], 10, 64)
	return ticks, err == nil
}
