//go:build linux

package builtin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/sudo"
)

// Dirs are the places on the host that belong to a checkout's cluster.
type Dirs struct{ dirs.Dirs }

// NewDirs returns the directories of the checkout at root without making them.
func NewDirs(cache, root string) Dirs { return Dirs{dirs.New(cache, root)} }

func (d Dirs) kubeconfig() string           { return filepath.Join(d.Cluster, "kubeconfig") }
func (d Dirs) state() string                { return filepath.Join(d.Cluster, "state.json") }
func (d Dirs) node(name string) string      { return filepath.Join(d.Cluster, "nodes", name) }
func (d Dirs) logs(name string) string      { return filepath.Join(d.Cluster, "logs", name) }
func (d Dirs) log(name, prog string) string { return filepath.Join(d.logs(name), prog+".log") }
func (d Dirs) auditLog() string             { return filepath.Join(d.logs(nodeName(0)), "audit.json") }
func (d Dirs) cgroup(elem ...string) string {
	return filepath.Join(append([]string{"grpc-lb-" + d.ID}, elem...)...)
}

// state is what a later process needs to find a cluster.
type state struct {
	// Ready is false while the cluster boots.
	Ready bool
	// Detached clusters outlive the lab that booted them.
	Detached bool
	Nodes    []node.Node
	API      string
	Versions map[string]string
}

func (d Dirs) load() (state, error) {
	var s state
	data, err := os.ReadFile(d.state())
	if errors.Is(err, fs.ErrPermission) {
		return s, fmt.Errorf("builtin: %w: this checkout's cluster is root's: run: %s", err, sudo.Line())
	}
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
