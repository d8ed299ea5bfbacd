//go:build linux

package node

import (
	"encoding/json"
	"fmt"
)

// Spec is all that a node is made of.
type Spec struct {
	// Name is the host name.
	Name string
	// Dir is an empty directory on the host: the node's mount point.
	Dir string
	// Binds maps a path in the node to the host's directory that shows there.
	Binds map[string]string
	// Data are directories in the node that must not lie on an overlay.
	Data []string
	// Empty are paths of the host that the node must not see.
	Empty []string
	// Files maps a path in the node to its content.
	Files map[string]string
	// Sysctls maps a path under /proc/sys/net to its value. The rest of /proc/sys is
	// the machine's and can be read only.
	Sysctls map[string]string
	// Shadowed are paths under /proc/sys of which the node has a copy to write to.
	Shadowed []string
	// Path is the PATH of the node's processes.
	Path string
	// LogDir is a directory in the node that gets one log a process.
	LogDir string
	// Processes start side by side, each as soon as it can.
	Processes []Process
	// Forward is the address in the node that connections to [Options.Listener] reach.
	Forward string
}

// Process is one program that a node runs.
type Process struct {
	Name string
	Args []string
	// After are paths in the node that must exist before the process starts.
	After []string
	// Once marks a command that ends; others run as long as the node.
	Once bool
	// Done is a file that is made when a Once command has succeeded.
	Done string
}

// Event is what happened to a process of the node.
type Event struct {
	Process string
	State   State
	Error   string `json:",omitempty"`
}

// State is what an [Event] says.
type State string

// The states of a process. A failed process was never started or ended with an
// error; one that is not Once fails whenever it ends.
const (
	Started State = "started"
	Done    State = "done"
	Failed  State = "failed"
)

func (s Spec) encode() ([]byte, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("node: encoding the spec of %s: %w", s.Name, err)
	}
	return data, nil
}
