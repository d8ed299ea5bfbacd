//go:build linux

package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	startTime = time.Minute
	stopTime  = 30 * time.Second
)

// service is a program that runs beside this one and ends with it.
type service struct {
	args, env []string
	log       string
	ready     func() bool
}

// started is a service that runs.
type started struct {
	cmd   *exec.Cmd
	ended chan error // holds one value once it has ended
}

// start returns when the service is ready.
func start(ctx context.Context, s service) (*started, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("not in %s", startTime))
	defer cancel()
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	run := &started{cmd: exec.Command(s.args[0], s.args[1:]...), ended: make(chan error, 1)}
	run.cmd.Stdout, run.cmd.Stderr, run.cmd.Env = log, log, append(os.Environ(), s.env...)
	run.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // a terminal's interrupt is not for it
	if err := run.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { run.ended <- run.cmd.Wait() }()
	for !s.ready() {
		select {
		case err := <-run.ended:
			return nil, fmt.Errorf("%s does not start: %w:\n%s", filepath.Base(s.args[0]), errors.Join(err), tail(s.log))
		case <-ctx.Done():
			run.stop()
			return nil, fmt.Errorf("%s is not ready: %w:\n%s", filepath.Base(s.args[0]), context.Cause(ctx), tail(s.log))
		case <-time.After(100 * time.Millisecond):
		}
	}
	return run, nil
}

// stop ends the service, by force where it does not end itself.
func (s *started) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.ended:
		s.ended <- err
	case <-time.After(stopTime):
		_ = s.cmd.Process.Kill()
		s.ended <- <-s.ended
	}
}

// tail returns the end of a log.
func tail(file string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return "  " + err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-8):], "\n  ")
}
