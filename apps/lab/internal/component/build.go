package component

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/gobuild"
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
// returns their directories and versions by name. It builds those that it
// cannot fetch. Then it removes the compiled packages: no later build needs them, and
// they take gigabytes.
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
	if _, err := b.goIn(c).Output(ctx, "list", "-m"); err != nil && ctx.Err() == nil {
		return fmt.Errorf("component %s: %w: install that Go, or let yours fetch it with GOTOOLCHAIN=auto", c.Name, err)
	} else if err != nil {
		return context.Cause(ctx)
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
	if len(c.Programs) == 0 {
		if _, err := b.goIn(c).Output(ctx, "mod", "download", c.Module); err != nil {
			return err
		}
	} else if err := b.compile(ctx, c, out); err != nil {
		return err
	}
	return b.copyFiles(ctx, c, out)
}

// copyFiles copies files out of the module's sources, which lie in Go's module cache.
func (b Builder) copyFiles(ctx context.Context, c Component, out string) error {
	if len(c.Files) == 0 {
		return nil
	}
	dir, err := b.goIn(c).Output(ctx, "list", "-m", "-f", "{{.Dir}}", c.Module)
	if err != nil {
		return err
	}
	for name, source := range c.Files {
		content, err := os.ReadFile(filepath.Join(dir, source))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compile builds all programs at once, so that they are linked side by side.
func (b Builder) compile(ctx context.Context, c Component, out string) error {
	version, err := c.Version(b.Root)
	if err != nil {
		return err
	}
	var packages []string
	for _, n := range slices.Sorted(maps.Keys(c.Programs)) {
		packages = append(packages, c.Programs[n])
		if len(c.Programs) == 1 {
			out = filepath.Join(out, n+b.platform(c).suffix())
		} else if path.Base(c.Programs[n]) != n {
			return fmt.Errorf("%s would be built as %s: name it so, or give it a component of its own", n, path.Base(c.Programs[n]))
		}
	}
	if len(packages) > 1 {
		out += string(filepath.Separator)
	}
	return b.goIn(c).Build(ctx, c.flags(version), out, packages...)
}

// goIn is the go command in the component's module.
func (b Builder) goIn(c Component) gobuild.Go {
	on := b.platform(c)
	return gobuild.Go{
		Dir: c.dir(b.Root), Detail: b.Detail,
		Env: []string{"CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=" + on.OS, "GOARCH=" + on.Arch, "GOCACHE=" + b.compiled()},
	}
}

func (b Builder) detail(text string) {
	if b.Detail != nil {
		b.Detail(text)
	}
}

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
