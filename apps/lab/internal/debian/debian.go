// Package debian installs programs that come from no package registry of a
// language.
package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Install installs the packages of those programs that are missing: programs
// maps each to its Debian package. Where it cannot, the error says what to
// install. Detail is told what is being installed.
func Install(ctx context.Context, programs map[string]string, detail func(string)) error {
	var packages []string
	for program, pkg := range programs {
		if _, err := exec.LookPath(program); err != nil && !slices.Contains(packages, pkg) {
			packages = append(packages, pkg)
		}
	}
	if len(packages) == 0 {
		return nil
	}
	slices.Sort(packages)
	list := strings.Join(packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("missing: %s: install them with this machine's package manager", list)
	}
	detail("installing from Debian: " + list)
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			return fmt.Errorf("installing %s: apt-get %s: %w:\n  %s", list, args[0], err, strings.Join(lines[max(0, len(lines)-5):], "\n  "))
		}
	}
	return nil
}
