// Package dirs names the places on the host that belong to a checkout, and keeps
// two labs from changing them at once.
package dirs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
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

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:8]
}

// Lock keeps every other lab from changing this checkout's cluster until the
// returned lock is closed or the process ends.
func (d Dirs) Lock() (*flock.Flock, error) {
	if err := os.MkdirAll(d.Cluster, 0o755); err != nil {
		return nil, fmt.Errorf("the cache directory cannot be written: %w", err)
	}
	// The holder's pid lies beside the lock: on Windows nobody else reads a locked file.
	lock, holder := flock.New(filepath.Join(d.Cluster, "lock")), filepath.Join(d.Cluster, "lock.pid")
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("the cache directory cannot be written: %w", err)
	}
	if !locked {
		pid, _ := os.ReadFile(holder)
		return nil, fmt.Errorf("%w (pid %s): wait until it ends, or end it with `kill %[2]s`", ErrBusy, strings.TrimSpace(string(pid)))
	}
	if err := os.WriteFile(holder, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return nil, errors.Join(fmt.Errorf("the cache directory cannot be written: %w", err), lock.Close())
	}
	return lock, nil
}
