package builtin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
)

// ErrBusy says that another lab works on the cluster of this checkout.
var ErrBusy = errors.New("another lab works on this checkout's cluster")

// Dirs are the places on the host that belong to a checkout's cluster.
type Dirs struct {
	Cache   string // shared by all checkouts
	ID      string // short hash of the cache's and the checkout's path
	Cluster string // of this checkout alone
}

// NewDirs returns the directories of the checkout at root without making them.
func NewDirs(cache, root string) Dirs {
	id := shortHash(cache + "\x00" + root)
	return Dirs{Cache: cache, ID: id, Cluster: filepath.Join(cache, "clusters", id)}
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:8]
}

func (d Dirs) kubeconfig() string           { return filepath.Join(d.Cluster, "kubeconfig") }
func (d Dirs) state() string                { return filepath.Join(d.Cluster, "state.json") }
func (d Dirs) node(name string) string      { return filepath.Join(d.Cluster, "nodes", name) }
func (d Dirs) logs(name string) string      { return filepath.Join(d.Cluster, "logs", name) }
func (d Dirs) log(name, prog string) string { return filepath.Join(d.logs(name), prog+".log") }
func (d Dirs) auditLog() string             { return filepath.Join(d.logs(nodeName(0)), "audit.json") }
func (d Dirs) cgroup(elem ...string) string {
	return filepath.Join(append([]string{"grpc-lb-" + d.ID}, elem...)...)
}

// Lock keeps every other lab from changing this checkout's cluster until the
// returned file is closed or the process ends.
func (d Dirs) Lock() (*os.File, error) {
	if err := os.MkdirAll(d.Cluster, 0o755); err != nil {
		return nil, fmt.Errorf("builtin: the cache directory cannot be written: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(d.Cluster, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("builtin: the cache directory cannot be written: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(f.Name())
		_ = f.Close()
		return nil, fmt.Errorf("%w (pid %s): wait until it ends, or end it with `kill %[2]s`", ErrBusy, strings.TrimSpace(string(holder)))
	}
	_ = f.Truncate(0)
	_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return f, err
}

// state is what a later process needs to find a cluster.
type state struct {
	// Ready is false while the cluster boots.
	Ready    bool
	Nodes    []node.Node
	API      string
	Versions map[string]string
}

func (d Dirs) load() (state, error) {
	var s state
	data, err := os.ReadFile(d.state())
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("builtin: %s: %w; remove the file", d.state(), err)
	}
	return s, nil
}

func (d Dirs) save(s state) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	part := d.state() + ".part" // nobody ever reads half of it
	if err := os.WriteFile(part, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(part, d.state())
}
