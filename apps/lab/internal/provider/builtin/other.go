//go:build !linux

package builtin

// Main does nothing: the built-in cluster needs Linux.
func Main() {}
