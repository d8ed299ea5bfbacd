//go:build !unix

package become

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Program runs the program at path and ends with its exit code. It returns only when
// the program could not be started.
func Program(path string, args, environ []string) error {
	cmd := exec.Cmd{Path: path, Args: args, Env: environ, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err == nil || ended {
		os.Exit(cmd.ProcessState.ExitCode())
	}
	return fmt.Errorf("%s: %w", path, err)
}
