//go:build linux

package builtin

import (
	"context"
	"net/netip"
	"os/exec"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/fault"
)

// CanBreak implements cluster.Cluster.
func (c *Cluster) CanBreak(kind cluster.FaultKind) error {
	return fault.Possible(kind, c.Status())
}

// Break implements cluster.Cluster.
func (c *Cluster) Break(ctx context.Context, f cluster.Fault) (mend func(context.Context) error, err error) {
	network := fault.Network{API: []netip.AddrPort{netip.MustParseAddrPort(nodeIP(0) + ":6443")}, Uplink: uplink}
	var nodes []fault.Node
	for i, status := range c.Status().Nodes {
		network.Pods = append(network.Pods, netip.MustParsePrefix(podNet(i)))
		nodes = append(nodes, fault.Node{NodeStatus: status, Command: func(args ...string) *exec.Cmd {
			// It ends by its standard input, not with the context.
			return c.state.Nodes[i].Command(context.WithoutCancel(ctx), []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, args...)
		}})
	}
	return fault.Break(ctx, f, network, nodes)
}
