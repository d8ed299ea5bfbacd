package runner

import (
	"runtime"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// machine describes where the run takes place.
func machine() report.Machine {
	kernel, memory := kernelAndMemory()
	return report.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Kernel: kernel, MemoryBytes: memory}
}
