//go:build !linux

package node

// Main does nothing: nodes need Linux.
func Main() {}
