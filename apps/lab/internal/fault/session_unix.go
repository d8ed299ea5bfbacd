//go:build unix

package fault

import (
	"os/exec"
	"syscall"
)

// ownSession keeps the signals of a terminal from the command: Ctrl-C would end the fault
// before the lab mends it.
func ownSession(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
}
