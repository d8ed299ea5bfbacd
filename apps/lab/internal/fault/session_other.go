//go:build !unix

package fault

import "os/exec"

// ownSession leaves the command as it is.
func ownSession(*exec.Cmd) {}
