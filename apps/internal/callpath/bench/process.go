package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

const (
	startTime = 10 * time.Second // in which a server must listen
	stopTime  = 5 * time.Second  // in which a process must end after a signal
)

// child is a process of a program under test.
type child struct {
	cmd    *exec.Cmd
	name   string
	stdout bytes.Buffer
	stderr bytes.Buffer
	ended  chan struct{}
	err    error // of Wait; read it only when ended is closed
}

// start starts a program that ctx ends. All have the same number of threads.
func start(ctx context.Context, env []string, name string, args ...string) (*child, error) {
	c := &child{name: name, ended: make(chan struct{}), cmd: exec.CommandContext(ctx, name, args...)}
	c.cmd.Env = append(append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(runtime.NumCPU())), env...)
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(os.Interrupt) }
	c.cmd.WaitDelay = stopTime
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.ended)
		c.err = c.cmd.Wait()
	}()
	return c, nil
}

// output waits for the end of a program that ends by itself and returns what it printed.
func (c *child) output() ([]byte, error) {
	<-c.ended
	if c.err != nil {
		return nil, fmt.Errorf("%s: %w: %.500s", c.name, c.err, c.stderr.Bytes())
	}
	return c.stdout.Bytes(), nil
}

// cpu returns the CPU time that the process has had.
func (c *child) cpu(ctx context.Context) (time.Duration, error) { return cpuOf(ctx, c.cmd.Process.Pid) }

func cpuOf(ctx context.Context, pid int) (time.Duration, error) {
	p, err := process.NewProcessWithContext(ctx, int32(pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	times, err := p.TimesWithContext(ctx)
	if err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration((times.User + times.System) * float64(time.Second)), nil
}

// server is a program that listens.
type server struct {
	*child
	address string
}

// serve starts a server and waits until it listens. args gets the port.
func serve(ctx context.Context, env []string, name string, args func(port string) []string) (*server, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := lis.Addr().String()
	_, port, _ := net.SplitHostPort(address) // of a listener, which has both
	if err := lis.Close(); err != nil {
		return nil, err
	}
	c, err := start(ctx, env, name, args(port)...)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(startTime); time.Now().Before(end); {
		if conn, err := net.Dial("tcp", address); err == nil {
			return &server{child: c, address: address}, conn.Close()
		}
		select {
		case <-c.ended:
			_, err := c.output()
			return nil, errors.Join(fmt.Errorf("%s ended before it listened", name), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("%s does not listen at %s after %v", name, address, startTime)
}
