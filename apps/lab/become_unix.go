//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// become replaces this process by a program. It returns only when it could not.
func become(path string, args, environ []string) error {
	return fmt.Errorf("%s: %w", args[0], syscall.Exec(path, args, environ))
}
