package kind

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/fault"
)

// CanBreak implements cluster.Cluster.
func (c *Cluster) CanBreak(kind cluster.FaultKind) error {
	return fault.Possible(kind, c.Status())
}

// Break implements cluster.Cluster.
func (c *Cluster) Break(ctx context.Context, f cluster.Fault) (mend func(context.Context) error, err error) {
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	network, err := networkOf(ctx, client.Typed)
	if err != nil {
		return nil, fmt.Errorf("kind: the addresses of pods and of the API server: %w", err)
	}
	var nodes []fault.Node
	for _, status := range c.Status().Nodes {
		nodes = append(nodes, fault.Node{NodeStatus: status, Command: func(args ...string) *exec.Cmd {
			return exec.Command("docker", append([]string{"exec", "--interactive", status.Container}, args...)...)
		}})
	}
	return fault.Break(ctx, f, network, nodes)
}

// networkOf asks the API server.
func networkOf(ctx context.Context, client kubernetes.Interface) (n fault.Network, err error) {
	n.Uplink = "eth0" // Docker's name for it
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return n, err
	}
	for _, node := range nodes.Items {
		for _, cidr := range node.Spec.PodCIDRs {
			pods, err := netip.ParsePrefix(cidr)
			if err != nil {
				return n, err
			}
			n.Pods = append(n.Pods, pods)
		}
	}
	slices, err := client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return n, err
	}
	for _, s := range slices.Items {
		for _, e := range s.Endpoints {
			for _, address := range e.Addresses {
				api, err := netip.ParseAddr(address)
				if err != nil {
					return n, err
				}
				for _, port := range s.Ports {
					n.API = append(n.API, netip.AddrPortFrom(api, uint16(*port.Port)))
				}
			}
		}
	}
	return n, nil
}
