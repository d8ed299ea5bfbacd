//go:build linux

package builtin

import "github.com/grpc-lb/grpc-lb/apps/lab/internal/node"

// CgroupRoot is where the machine's cgroups are mounted.
const CgroupRoot = cgroupRoot

var (
	NodeSpec          = nodeSpec
	Listen            = listen
	MakeCgroup        = makeCgroup
	RemoveCgroup      = removeCgroup
	CgroupHierarchies = cgroupHierarchies
	CheckCgroups      = checkCgroups
	UsageBelow        = usage
	ElsewhereOf       = elsewhere
	Try               = try
	Measure           = measure
	PatienceOf        = patience
	StartJanitor      = startJanitor
)

// Cgroup returns the path of a group of the checkout's cluster.
func (d Dirs) Cgroup(elem ...string) string { return d.cgroup(elem...) }

// State returns the path of the file that tells of the cluster.
func (d Dirs) State() string { return d.state() }

// SaveState notes a cluster of these nodes that is up, and may stay when its lab ends.
func (d Dirs) SaveState(stays bool, nodes ...node.Node) error {
	return d.save(state{Ready: true, Detached: stays, Nodes: nodes})
}

// SaveNodes notes a cluster of these nodes.
func (d Dirs) SaveNodes(nodes ...node.Node) error { return d.save(state{Ready: true, Nodes: nodes}) }
