//go:build !linux && !darwin

package runner

// kernelAndMemory leaves both unknown.
func kernelAndMemory() (release string, bytes uint64) { return "", 0 }
