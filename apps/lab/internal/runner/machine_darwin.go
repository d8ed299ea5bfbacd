package runner

import "golang.org/x/sys/unix"

func kernelAndMemory() (release string, bytes uint64) {
	release, _ = unix.Sysctl("kern.osrelease")
	bytes, _ = unix.SysctlUint64("hw.memsize")
	return release, bytes
}
