package controlplane

import "syscall"

// endsWithParent keeps a test that is killed from leaving an API server behind.
func endsWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
