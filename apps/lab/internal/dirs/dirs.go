// Package dirs names the places on the host that belong to a checkout, and keeps
// two labs from changing them at once.
package dirs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/sudo"
)

// ErrBusy says that another lab works on the cluster of this checkout.
var ErrBusy = errors.New("another lab works on this checkout's cluster")

// Dirs are the places on the host that belong to a checkout's cluster.
type Dirs struct {
	Cache   string // shared by all checkouts
	ID      string // short hash of the cache's and the checkout's path
	Cluster string // of this checkout alone
}

// New returns the directories of the checkout at root without making them.
func New(cache, root string) Dirs {
	id := shortHash(cache + "\x00" + root)
	return Dirs{Cache: cache, ID: id, Cluster: filepath.Join(cache, "clusters", id)}
}

// Runs is where the results of this checkout's runs are kept.
func (d Dirs) Runs() string { return filepath.Join(d.Cache, "runs", d.ID) }

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:8]
}

// janitor is what LockAfterwards notes as the holder; janitorTime is what its work
// takes at most.
const (
	janitor     = "janitor"
	janitorTime = 10 * time.Second
)

// Lock keeps every other lab from changing this checkout's cluster until the
// returned lock is closed or the process ends. Who cleans up after a lab has ended
// is waited for.
func (d Dirs) Lock() (*flock.Flock, error) {
	lock, err := d.open()
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(janitorTime); ; time.Sleep(10 * time.Millisecond) { //nolint:forbidigo // waiting in the kernel has no deadline
		locked, err := lock.TryLock()
		if err != nil {
			return nil, cannotWrite(err)
		}
		if locked {
			return lock, d.note(lock, strconv.Itoa(os.Getpid()))
		}
		text, _ := os.ReadFile(d.holder())
		if holder := strings.TrimSpace(string(text)); holder != janitor || time.Now().After(deadline) {
			return nil, fmt.Errorf("%w (pid %s): wait until it ends, or end it with `kill %[2]s`", ErrBusy, holder)
		}
	}
}

// LockAfterwards waits until the lab that holds the lock has ended, however it does.
func (d Dirs) LockAfterwards() (*flock.Flock, error) {
	lock, err := d.open()
	if err != nil {
		return nil, err
	}
	if err := lock.Lock(); err != nil {
		return nil, fmt.Errorf("waiting for the lab: %w", err)
	}
	return lock, d.note(lock, janitor)
}

func (d Dirs) open() (*flock.Flock, error) {
	if err := os.MkdirAll(d.Cluster, 0o755); err != nil {
		return nil, cannotWrite(err)
	}
	return flock.New(filepath.Join(d.Cluster, "lock"), flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o644)), nil
}

// holder names a file beside the lock: on Windows nobody else reads a locked one.
func (d Dirs) holder() string { return filepath.Join(d.Cluster, "lock.pid") }

// note writes down who holds the lock.
func (d Dirs) note(lock *flock.Flock, who string) error {
	if err := os.WriteFile(d.holder(), []byte(who+"\n"), 0o644); err != nil {
		return errors.Join(cannotWrite(err), lock.Close())
	}
	return nil
}

func cannotWrite(err error) error {
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() > 0 {
		return fmt.Errorf("the cache directory cannot be written: %w: if it is root's, run: %s", err, sudo.Line())
	}
	return fmt.Errorf("the cache directory cannot be written: %w", err)
}
