package runner

import (
	"golang.org/x/sys/unix"
)

func kernelAndMemory() (release string, bytes uint64) {
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		release = unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		bytes = info.Totalram * uint64(info.Unit)
	}
	return release, bytes
}
