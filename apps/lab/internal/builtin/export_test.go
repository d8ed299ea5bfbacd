//go:build linux

package builtin

import "github.com/grpc-lb/grpc-lb/apps/lab/internal/node"

var (
	NodeSpec          = nodeSpec
	Listen            = listen
	MakeCgroup        = makeCgroup
	RemoveCgroup      = removeCgroup
	CgroupHierarchies = cgroupHierarchies
	UsageBelow        = usage
)

// Cgroup returns the path of a group of the checkout's cluster.
func (d Dirs) Cgroup(elem ...string) string { return d.cgroup(elem...) }

// State returns the path of the file that tells of the cluster.
func (d Dirs) State() string { return d.state() }

// SaveNodes notes a cluster of these nodes.
func (d Dirs) SaveNodes(nodes ...node.Node) error { return d.save(state{Ready: true, Nodes: nodes}) }
