//go:build unix

package become

import (
	"fmt"
	"syscall"
)

// Program replaces this process by the program at path. It returns only when it
// could not.
func Program(path string, args, environ []string) error {
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, args, environ))
}
