//go:build unix && !linux

package gobuild

import (
	"os/exec"
	"syscall"
)

// group ends the command's children with it.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
