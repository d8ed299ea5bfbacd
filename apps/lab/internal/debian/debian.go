// Package debian installs programs that come from no package registry of a
// language.
package debian

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// Time is what installing may take, waiting for another program that installs
// included.
const Time = 20 * time.Minute

// lockTime is how long apt waits for another program that installs.
const lockTime = 10 * time.Minute

// listsLocked is what apt says where another program fetches the lists: unlike for
// dpkg it does not wait.
const listsLocked = "Could not get lock"

// retry is when it is asked again.
var retry = 2 * time.Second

// Missing returns the packages, sorted, of those programs that are missing:
// programs maps each to its Debian package.
func Missing(programs map[string]string) (packages []string) {
	for program, pkg := range programs {
		if _, err := exec.LookPath(program); err != nil && !slices.Contains(packages, pkg) {
			packages = append(packages, pkg)
		}
	}
	slices.Sort(packages)
	return packages
}

// Here tells whether this machine installs packages as Debian does.
func Here() bool {
	_, err := exec.LookPath("apt-get")
	return err == nil
}

// Install installs the packages of the programs that are [Missing]. Where it cannot,
// the error says what to install. Detail is told what runs. It never ends dpkg,
// which would leave the machine's packages broken: once that runs, Install returns
// when it has ended.
func Install(ctx context.Context, programs map[string]string, detail func(string)) error {
	packages := Missing(programs)
	if len(packages) == 0 {
		return nil
	}
	list := strings.Join(packages, " ")
	if !Here() {
		return fmt.Errorf("missing: %s: install them with this machine's package manager", list)
	}
	install := append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)
	for _, c := range []struct {
		what string
		args []string
		dpkg bool
	}{
		{"fetching Debian's lists of packages", []string{"update", "-q"}, false},
		{"fetching from Debian: " + list, append(slices.Clone(install), "--download-only"), false},
		{"installing from Debian: " + list, install, true},
	} {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		detail(c.what)
		for {
			said, err := apt(ctx, c.args, c.dpkg, func() {
				detail(c.what + ": waiting until that is done, since dpkg must not be interrupted")
			})
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("%w, while %s (apt-get %s)", context.Cause(ctx), c.what, strings.Join(c.args, " "))
			}
			if !c.dpkg && strings.Contains(said, listsLocked) {
				detail(c.what + ": waiting for another program that does")
				_ = poll.Sleep(ctx, retry) // apt-get fails when the context has ended
				continue
			}
			lines := strings.Split(strings.TrimSpace(said), "\n")
			return fmt.Errorf("installing %s: apt-get %s: %w:\n  %s", list, c.args[0], err, strings.Join(lines[max(0, len(lines)-5):], "\n  "))
		}
	}
	return context.Cause(ctx)
}
