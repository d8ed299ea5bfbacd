//go:build linux

package builtin

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/sudo"
)

// arg0Janitor is what this program is called in the part of a janitor.
const arg0Janitor = "lab-janitor"

// Main never returns when the program was started as a part of a cluster, and does
// nothing otherwise. A program that calls [Up] must call it first thing.
func Main() {
	node.Main()
	if os.Args[0] != arg0Janitor {
		return
	}
	if err := janitor(Dirs{dirs.Dirs{Cache: os.Args[1], ID: os.Args[2], Cluster: os.Args[3]}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// startJanitor starts what ends the cluster if this program is killed. Nodes end with
// it by themselves, but nothing in the kernel removes their cgroups.
func startJanitor(d Dirs) error {
	if err := os.MkdirAll(d.logs(""), 0o755); err != nil {
		return err
	}
	log, err := os.Create(d.log("", "janitor"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{arg0Janitor, d.Cache, d.ID, d.Cluster}, Dir: "/",
		Stdout: log, Stderr: log,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}, // out of reach of the terminal's signals
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("builtin: starting the janitor: %w", err)
	}
	go func() { _ = cmd.Wait() }() // it outlives this program, unless it is killed
	return nil
}

// janitor waits until the lab has ended, however it does, and then removes what it
// left, unless that is a cluster which shall stay.
func janitor(d Dirs) error {
	lock, err := d.LockAfterwards()
	if err != nil {
		return err
	}
	defer lock.Close()
	if s, err := d.load(); err == nil && s.Ready && s.Detached {
		return nil
	}
	if err := Down(context.Background(), d); err != nil {
		return err
	}
	return sudo.GiveBack(d.Cache)
}
