// Package gobuild runs the go command and tells how far it is. It imports the
// standard library alone, so that the lab's own main can, which is compiled before
// all else.
package gobuild

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Go is the go command in a module.
type Go struct {
	Dir string   // in the module
	Env []string // beside that of this process
	// Uncounted saves the second that it takes to count what there is to compile.
	Uncounted bool
	// Detail receives how far a build is; it may be nil.
	Detail func(text string)
}

// Command returns a call of the go command, which ends with ctx, and what it has
// started too.
func (g Go) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = g.Dir, append(os.Environ(), g.Env...)
	group(cmd)
	return cmd
}

// Output returns what the go command prints.
func (g Go) Output(ctx context.Context, args ...string) (string, error) {
	out, err := g.Command(ctx, args...).Output()
	text := strings.TrimSpace(string(out))
	if exit, refused := errors.AsType[*exec.ExitError](err); refused && ctx.Err() == nil {
		return text, fmt.Errorf("%s", bytes.TrimSpace(exit.Stderr))
	} else if err != nil {
		return text, startError(ctx, err)
	}
	return text, nil
}

// Build builds packages into out: a file for one, or a directory with a slash at its
// end. Flags are for go list as well, which counts what there is to compile.
func (g Go) Build(ctx context.Context, flags []string, out string, packages ...string) error {
	total := 0
	if !g.Uncounted {
		var err error
		if total, err = g.stale(ctx, flags, packages); err != nil {
			return err
		}
	}
	start, done := time.Now(), 0
	args := append(append([]string{"build", "-v"}, flags...), "-o", out)
	return g.follow(ctx, append(args, packages...), nil, func(line string) {
		if !strings.Contains(line, " ") {
			done++
			g.detail(estimate(done, total, time.Since(start)))
		}
	})
}

// stale counts the packages that a build would compile; fetching the modules'
// sources is part of it.
func (g Go) stale(ctx context.Context, flags, packages []string) (int, error) {
	g.detail("reading the module's packages")
	args := append([]string{"list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}"}, flags...)
	var stdout bytes.Buffer
	fetched := 0
	err := g.follow(ctx, append(args, packages...), &stdout, func(line string) {
		if strings.HasPrefix(line, "go: downloading ") {
			fetched++
			g.detail(fmt.Sprintf("%d modules fetched", fetched))
		}
	})
	return len(strings.Fields(stdout.String())), err
}

// follow runs the go command and calls said with each line that it says on the way.
func (g Go) follow(ctx context.Context, args []string, stdout *bytes.Buffer, said func(line string)) error {
	cmd := g.Command(ctx, args...)
	if stdout != nil {
		cmd.Stdout = stdout
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return startError(ctx, err)
	}
	var tail []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		tail = append(tail, lines.Text())[max(0, len(tail)-11):]
		said(lines.Text())
	}
	if err := cmd.Wait(); ctx.Err() != nil {
		return context.Cause(ctx)
	} else if err != nil {
		return fmt.Errorf("go %s: %w; what was fetched and compiled is kept, so run again once this is mended:\n  %s", args[0], err, strings.Join(tail, "\n  "))
	}
	return nil
}

func (g Go) detail(text string) {
	if g.Detail != nil {
		g.Detail(text)
	}
}

// estimate says how far a build is; total is 0 where nobody counted.
func estimate(done, total int, elapsed time.Duration) string {
	if total == 0 {
		return fmt.Sprintf("%d packages", done)
	}
	total = max(total, done)
	left := time.Duration(float64(elapsed) / float64(done) * float64(total-done))
	return fmt.Sprintf("%d of %d packages, about %s left", done, total, left.Round(time.Second))
}

func startError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("the go command cannot be run: %w: install Go and put it on PATH", err)
}
