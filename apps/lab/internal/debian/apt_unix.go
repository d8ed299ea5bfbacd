//go:build unix

package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// apt runs apt-get, away from the terminal and what it signals, and returns what it
// said. Where the context ends, it is interrupted, but while dpkg works it is waited
// for, and waiting is called.
func apt(ctx context.Context, args []string, dpkg bool, waiting func()) (said string, err error) {
	// It is a file since a pipe would break under apt if the lab were killed.
	out, err := os.CreateTemp("", "lab-apt-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, out.Close(), os.Remove(out.Name())) }()
	cmd := exec.Command("apt-get", append([]string{"-o", fmt.Sprintf("DPkg::Lock::Timeout=%.0f", lockTime.Seconds())}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "LC_ALL=C")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		if dpkg {
			waiting()
		} else {
			_ = cmd.Process.Signal(os.Interrupt)
		}
	})
	err = cmd.Wait()
	if !stop() {
		<-told
	}
	content, readErr := os.ReadFile(out.Name())
	return string(content), errors.Join(err, readErr)
}
