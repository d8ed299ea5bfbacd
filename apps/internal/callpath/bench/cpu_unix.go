//go:build unix

package main

import (
	"syscall"
	"time"
)

// ownCPU returns the CPU time that this process has had, to the microsecond.
func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
