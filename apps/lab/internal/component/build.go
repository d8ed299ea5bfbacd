package component

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"maps"

	"github.com/gofrs/flock"
)

// Builder builds components of a checkout into a cache.
type Builder struct {
	Root  string // the checkout
	Cache string // the lab's cache directory
	// NodeArch is the architecture of the nodes, and Host what the lab runs on; empty
	// means as this machine.
	NodeArch string
	Host     Platform
	// Detail receives how far a build is; it may be nil.
	Detail func(text string)
	// Registry has components that need not be compiled; nil compiles all.
	Registry *Registry
}

// Path returns the directory of the component's programs and whether they are
// built already.
func (b Builder) Path(c Component) (dir string, built bool, err error) {
	version, err := c.Version(b.Root)
	if err != nil {
		return "", false, err
	}
	key, err := c.key(b.Root, version, b.platform(c))
	if err != nil {
		return "", false, err
	}
	dir = filepath.Join(b.Cache, "components", c.Name+"-"+key)
	_, err = os.Stat(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", false, err
	}
	return dir, err == nil, nil
}

// buildTime is what one build may take on a slow machine with cold caches, and
// fetchTime what fetching one may.
const (
	buildTime = time.Hour
	fetchTime = 20 * time.Minute
)

// Step runs f as one step that is reported and has a deadline; see
// progress.Run.
type Step func(ctx context.Context, name string, limit time.Duration, f func(ctx context.Context, detail func(string)) error) error

// BuildAll builds or fetches the components one after the other, each as a step, and
// returns their directories and versions by name. What cannot be fetched is built.
// What was compiled on the way is then removed: no later build needs it, and it takes
// gigabytes.
func (b Builder) BuildAll(ctx context.Context, all []Component, step Step) (programs, versions map[string]string, err error) {
	programs, versions = map[string]string{}, map[string]string{}
	for _, c := range all {
		version, err := c.Version(b.Root)
		if err != nil {
			return nil, nil, err
		}
		versions[c.Name] = version
		digest, err := b.fetchable(c)
		if err != nil {
			return nil, nil, err
		}
		if digest != "" {
			err = step(ctx, "fetch "+c.Name+" "+version+" from "+b.Registry.String(), fetchTime, func(ctx context.Context, detail func(string)) error {
				b.Detail = detail
				programs[c.Name], err = b.fill(ctx, c, func(out string) error { return b.Registry.fetch(ctx, c, digest, out, detail) })
				return err
			})
			if err == nil {
				continue
			} else if ctx.Err() != nil {
				return nil, nil, err
			}
		}
		err = step(ctx, "build "+c.Name+" "+version, buildTime, func(ctx context.Context, detail func(string)) error {
			b.Detail = detail
			programs[c.Name], err = b.Build(ctx, c)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return programs, versions, b.dropCompiled()
}

// compiled is Go's build cache of the components alone, so that it can be removed.
func (b Builder) compiled() string { return filepath.Join(b.Cache, "go-build") }

// dropCompiled removes what was compiled, unless another lab builds with it: that
// one removes it later.
func (b Builder) dropCompiled() error {
	if _, err := os.Stat(b.compiled()); errors.Is(err, os.ErrNotExist) {
		return nil // nothing was ever compiled
	}
	lock := newLock(b.compiled())
	if locked, err := lock.TryLock(); err != nil {
		return fmt.Errorf("component: locking %s: %w", lock, err)
	} else if !locked {
		return nil
	}
	return errors.Join(os.RemoveAll(b.compiled()), lock.Close())
}

// fetchable returns the digest by which the component can be fetched, or "" where it
// is there already or must be built.
func (b Builder) fetchable(c Component) (digest string, err error) {
	if b.Registry == nil || b.Registry.silent.Load() {
		return "", nil
	}
	if _, built, err := b.Path(c); err != nil || built {
		return "", err
	}
	recorded, err := readRecord(b.Root)
	if err != nil {
		return "", err
	}
	p, err := b.published(c)
	if r := recorded[p.Platform][c.Name]; r.Key == p.Key {
		digest = r.Digest
	}
	return digest, err
}

// Build returns the directory of the component's programs, building them first
// where they are missing. Two processes never build the same component at once.
func (b Builder) Build(ctx context.Context, c Component) (string, error) {
	return b.fill(ctx, c, func(out string) error { return b.make(ctx, c, out) })
}

// fill returns the component's directory. Where it is missing, made fills it, all of
// it or none.
func (b Builder) fill(ctx context.Context, c Component, made func(out string) error) (string, error) {
	dir, built, err := b.Path(c)
	if err != nil || built {
		return dir, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("component: the cache cannot be written: %w", err)
	}
	lock := newLock(dir)
	if locked, err := lock.TryLock(); err == nil && !locked {
		b.detail("waiting for another lab that builds it")
	}
	if _, err := lock.TryLockContext(ctx, lockInterval); err != nil {
		return "", lockError(ctx, lock, err)
	}
	defer lock.Close()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), c.Name+".tmp-")
	if err != nil {
		return "", fmt.Errorf("component: the cache cannot be written: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := made(tmp); err != nil {
		return "", fmt.Errorf("component %s: %w", c.Name, err)
	}
	for _, link := range c.Links {
		if err := os.Symlink(slices.Sorted(maps.Keys(c.Programs))[0], filepath.Join(tmp, link)); err != nil {
			return "", err
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	return dir, os.Rename(tmp, dir)
}

// CheckGo returns an error where the installed Go is too old for the component's
// module and may not fetch a newer one.
func (b Builder) CheckGo(ctx context.Context, c Component) error {
	if c.Wheel != "" {
		return nil
	}
	out, err := b.command(ctx, c, "list", "-m").CombinedOutput()
	if _, refused := errors.AsType[*exec.ExitError](err); refused && ctx.Err() == nil {
		return fmt.Errorf("component %s: %s: install that Go, or let yours fetch it with GOTOOLCHAIN=auto", c.Name, strings.TrimSpace(string(out)))
	} else if err != nil {
		return startError(ctx, err)
	}
	return nil
}

// make fills the directory out with what the component is made of.
func (b Builder) make(ctx context.Context, c Component, out string) error {
	if c.Wheel != "" {
		return b.fetchWheel(ctx, c, out)
	}
	lock := newLock(b.compiled())
	if _, err := lock.TryRLockContext(ctx, lockInterval); err != nil {
		return lockError(ctx, lock, err)
	}
	defer lock.Close()
	if err := b.compile(ctx, c, out); err != nil {
		return err
	}
	return b.copyFiles(ctx, c, out)
}

// copyFiles copies files out of the module's sources, which lie in Go's module
// cache since the programs were compiled from them.
func (b Builder) copyFiles(ctx context.Context, c Component, out string) error {
	if len(c.Files) == 0 {
		return nil
	}
	dir, err := b.command(ctx, c, "list", "-m", "-f", "{{.Dir}}", c.Module).Output()
	if err != nil {
		return startError(ctx, err)
	}
	for name, path := range c.Files {
		content, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), path))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (b Builder) compile(ctx context.Context, c Component, out string) error {
	version, err := c.Version(b.Root)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(c.Programs))
	var packages []string
	for _, n := range names {
		packages = append(packages, c.Programs[n])
	}
	total, err := b.stale(ctx, c, version, packages)
	if err != nil {
		return err
	}
	start, done := time.Now(), 0
	for _, n := range names {
		args := append([]string{"build", "-v"}, c.flags(version)...)
		cmd := b.command(ctx, c, append(args, "-o", filepath.Join(out, n), c.Programs[n])...)
		tail := &tailWriter{}
		stderr, err := cmd.StderrPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return startError(ctx, err)
		}
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			tail.add(lines.Text())
			if !strings.Contains(lines.Text(), " ") {
				done++
				b.detail(estimate(done, total, time.Since(start)))
			}
		}
		if err := cmd.Wait(); err != nil {
			return buildError(ctx, n, err, tail)
		}
	}
	return nil
}

// stale counts the packages that a build would compile; fetching the modules'
// sources is part of it.
func (b Builder) stale(ctx context.Context, c Component, version string, packages []string) (int, error) {
	b.detail("reading the module's packages")
	args := append([]string{"list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}"}, c.flags(version)...)
	cmd := b.command(ctx, c, append(args, packages...)...)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	tail := &tailWriter{}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, startError(ctx, err)
	}
	fetched := 0
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		tail.add(lines.Text())
		if strings.HasPrefix(lines.Text(), "go: downloading ") {
			fetched++
			b.detail(fmt.Sprintf("%d modules fetched", fetched))
		}
	}
	if err := cmd.Wait(); err != nil {
		return 0, buildError(ctx, c.Name, err, tail)
	}
	return len(strings.Fields(stdout.String())), nil
}

func (b Builder) command(ctx context.Context, c Component, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = c.dir(b.Root)
	on := b.platform(c)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS="+on.OS, "GOARCH="+on.Arch, "GOCACHE="+b.compiled())
	group(cmd) // the compilers are the go command's children
	return cmd
}

func (b Builder) detail(text string) {
	if b.Detail != nil {
		b.Detail(text)
	}
}

func estimate(done, total int, elapsed time.Duration) string {
	if done > total {
		total = done
	}
	left := time.Duration(float64(elapsed) / float64(done) * float64(total-done))
	return fmt.Sprintf("%d of %d packages, about %s left", done, total, left.Round(time.Second))
}

func startError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("the go command cannot be run: %w: install Go and put it on PATH", err)
}

func buildError(ctx context.Context, name string, err error, tail *tailWriter) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("go build of %s: %w; what was fetched and compiled is kept, so run again once this is mended:\n%s", name, err, tail)
}

// tailWriter keeps the last lines of a command's output.
type tailWriter struct{ lines []string }

func (t *tailWriter) add(line string) {
	t.lines = append(t.lines, line)
	if len(t.lines) > 12 {
		t.lines = t.lines[1:]
	}
}

func (t *tailWriter) String() string { return "  " + strings.Join(t.lines, "\n  ") }

// lockInterval is how often a lock is tried that another process holds.
const lockInterval = 200 * time.Millisecond

// newLock returns the lock of a directory, which lies beside it.
func newLock(dir string) *flock.Flock { return flock.New(dir+".lock", flock.SetPermissions(0o644)) }

func lockError(ctx context.Context, lock *flock.Flock, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("component: locking %s: %w", lock, err)
}
