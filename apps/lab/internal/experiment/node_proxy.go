package experiment

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/caller/callerlog"
)

const (
	nodeCalls  = 500
	nodeRate   = 100 // calls a second
	reachCalls = 5

	linkerdAdmin = 9990
	// linkerdRequests is the counter of what a Linkerd's router was asked to send
	// to the servers: its label, and the name that it gave to the gRPC service.
	linkerdRequests = "rt/grpc/service/svc/com.example.grpc.EchoService/requests"

	warmTimeout = 90 * time.Second
)

// Reach is one node's port as a client in the cluster found it.
type Reach struct {
	Node    string
	Summary callerlog.Summary
}

// NodeProxy is a client on one node, and what each node's proxy counted
// meanwhile.
type NodeProxy struct {
	Node    string
	Summary callerlog.Summary
	Counted map[string]int64
}

// warmUp waits until no call fails any more: the first ones of a JVM are slow.
func warmUp(ctx context.Context, a *arena, _ *Phase) error {
	return a.await(ctx, warmTimeout, "the proxies to be warm", func(f *Facts) string {
		for _, name := range f.running() {
			windows := f.Clients[name].Windows
			last := windows[max(0, len(windows)-3):]
			if len(last) < 3 {
				return name + " has not logged three windows"
			}
			if n := failures(last); n > 0 || calls(last).Total() == 0 {
				return fmt.Sprintf("%d calls of %s failed in its last three windows", n, name)
			}
		}
		if got, want := len(f.running()), int(*a.clients.Spec.Replicas); got != want {
			return fmt.Sprintf("%d of %d clients run", got, want)
		}
		return ""
	})
}

// silence stops the clients, so that nobody else calls.
func silence(ctx context.Context, a *arena, _ *Phase) error {
	if err := a.scale(ctx, clientName, 0); err != nil {
		return err
	}
	return a.await(ctx, shutdownTimeout, "the clients' last lines", func(f *Facts) string {
		return pending(f.Clients, func(c *Client) bool { return c.Ended })
	})
}

func unsilence(ctx context.Context, a *arena) error {
	return a.scale(ctx, clientName, int(*a.clients.Spec.Replicas))
}

// callThroughNodes dials the proxy's port of every node, and then runs on every
// node, one after the other, a client as the overlay has it.
func callThroughNodes(ctx context.Context, a *arena, _ *Phase) error {
	nodes, err := a.nodes(ctx)
	if err != nil {
		return err
	}
	args := a.clients.Spec.Template.Spec.Containers[containerOf(a.clients.Spec.Template.Spec, clientName)].Args
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return strings.HasPrefix(arg, "--rate=") })
	for _, node := range keys(nodes) {
		reach := slices.Clone(args)
		for i := range reach {
			reach[i] = strings.ReplaceAll(reach[i], "$(HOST_IP)", nodes[node])
		}
		summary, err := a.summarize(ctx, "reach-"+node, "", append(reach, fmt.Sprintf("--count=%d", reachCalls), "--rate=5", "--timeout=10s"))
		if err != nil {
			return err
		}
		a.record.update(func(f *Facts) { f.Reached = append(f.Reached, Reach{node, *summary}) })
	}
	for _, node := range keys(nodes) {
		before, err := a.countedByProxies(ctx)
		if err != nil {
			return err
		}
		summary, err := a.summarize(ctx, "through-"+node, node, append(slices.Clone(args), fmt.Sprintf("--count=%d", nodeCalls), fmt.Sprintf("--rate=%d", nodeRate), "--timeout=10s"))
		if err != nil {
			return err
		}
		after, err := a.countedByProxies(ctx)
		if err != nil {
			return err
		}
		for name := range after {
			after[name] -= before[name]
		}
		a.record.update(func(f *Facts) { f.NodeProxies = append(f.NodeProxies, NodeProxy{node, *summary, after}) })
	}
	return nil
}

// summarize runs one client as a Job, on a node where one is given.
func (a *arena) summarize(ctx context.Context, name, node string, args []string) (*callerlog.Summary, error) {
	j := job(name, a.clients.Spec.Template, args)
	if node != "" {
		j.Spec.Template.Spec.NodeSelector = map[string]string{corev1.LabelHostname: node}
	}
	ended, err := a.runJob(ctx, sidecarTimeout, j)
	if err != nil {
		return nil, err
	}
	lines, err := a.jobLog(ctx, name, ended)
	if err != nil {
		return nil, err
	}
	summary := summaryOf(lines)
	if summary == nil {
		return nil, fmt.Errorf("job %s logged no summary in %d lines", name, len(lines))
	}
	return summary, a.deleteJob(ctx, name)
}

// nodes returns the addresses of the nodes by name.
func (a *arena) nodes(ctx context.Context) (map[string]string, error) {
	list, err := a.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the nodes: %w", err)
	}
	nodes := map[string]string{}
	for _, n := range list.Items {
		for _, address := range n.Status.Addresses {
			if address.Type == corev1.NodeInternalIP {
				nodes[n.Name] = address.Address
			}
		}
	}
	return nodes, nil
}

// countedByProxies asks every node's Linkerd how many calls it was given.
func (a *arena) countedByProxies(ctx context.Context) (map[string]int64, error) {
	pods, err := a.client.CoreV1().Pods(a.facts.Namespace).List(ctx, metav1.ListOptions{LabelSelector: nameLabel + "=" + a.strategy.Proxy})
	if err != nil {
		return nil, fmt.Errorf("listing the proxies: %w", err)
	}
	counted := map[string]int64{}
	for _, p := range pods.Items {
		raw, err := a.kube.ProxyGet(ctx, p.Namespace, p.Name, linkerdAdmin, "/admin/metrics.json")
		if err != nil {
			return nil, fmt.Errorf("the metrics of %s: %w", p.Name, err)
		}
		if counted[p.Spec.NodeName], err = linkerdCounter(raw); err != nil {
			return nil, fmt.Errorf("the metrics of %s: %w", p.Name, err)
		}
	}
	return counted, nil
}

// linkerdCounter reads Linkerd's metrics, a flat object. A proxy that has not
// been called yet has no such counter.
func linkerdCounter(raw []byte) (int64, error) {
	var metrics map[string]json.Number
	if err := json.Unmarshal(raw, &metrics); err != nil {
		return 0, fmt.Errorf("%.200q is no object of numbers: %w", raw, err)
	}
	n, counted := metrics[linkerdRequests]
	if !counted {
		return 0, nil
	}
	return n.Int64()
}
