//go:build !unix

package main

import (
	"context"
	"os"
	"time"
)

// ownCPU returns the CPU time that this process has had.
func ownCPU() (time.Duration, error) { return cpuOf(context.Background(), os.Getpid()) }
