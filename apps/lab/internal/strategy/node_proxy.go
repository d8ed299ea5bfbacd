package strategy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

const (
	nodeCalls  = 500
	nodeRate   = 100 // calls a second
	reachCalls = 5

	linkerdAdmin = 9990
	// linkerdRequests is the counter of what a Linkerd's router was asked to send
	// to the servers: its label, and the name that it gave to the gRPC service.
	linkerdRequests = "rt/grpc/service/svc/com.example.grpc.EchoService/requests"

	// warmCalls is how many calls of each client must be answered in a row.
	warmCalls = 60
	// warmTimeout bounds the wait: a JVM is warm after about 20 s, on a busy machine
	// after minutes.
	warmTimeout = 5 * time.Minute
)

// warmUp waits until every client has had its answers for a while: the first
// calls of a JVM are slow. Where calls go on failing no other experiment finds its
// steady state, so each node's port is called now.
func warmUp(ctx context.Context, a *runner.Environment, _ *observe.Phase) error {
	err := a.Await(ctx, warmTimeout, "the proxies to be warm", func(f *observe.Facts) string {
		return cold(f, int(*a.Clients.Spec.Replicas))
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	if _, reachErr := reachNodes(ctx, a, WarmUp); reachErr != nil {
		a.Note("%v", reachErr)
	}
	return err
}

// cold says which client has not had warmCalls answers in a row up to its last
// window, or "".
func cold(f *observe.Facts, clients int) string {
	running := f.Running()
	for _, name := range running {
		windows := f.Clients[name].Windows
		since := len(windows) // where the last windows without a failure begin
		for since > 0 && observe.Failures(windows[since-1:since]) == 0 {
			since--
		}
		if n := observe.Calls(windows[since:]).Total(); n < warmCalls {
			text := fmt.Sprintf("the last %d calls of %s were answered, want %d", n, name, warmCalls)
			if since > 0 {
				text += ", the ones before failed: " + strings.Join(codes(windows[since-1:since]), ", ")
			}
			return text
		}
	}
	if len(running) != clients {
		return fmt.Sprintf("%d of %d clients run", len(running), clients)
	}
	return ""
}

// codes returns those of the windows' failed calls, sorted.
func codes(windows []calllog.Window) []string {
	sum := distribution.Counts{}
	for _, w := range windows {
		sum = sum.Plus(w.Failures)
	}
	return observe.Keys(sum)
}

// silence stops the clients, so that nobody else calls.
func silence(ctx context.Context, a *runner.Environment, _ *observe.Phase) error {
	return a.StopClients(ctx)
}

func unsilence(ctx context.Context, a *runner.Environment) error {
	return a.Scale(ctx, a.Client, int(*a.Clients.Spec.Replicas))
}

// callThroughNodes dials the proxy's port of every node, and then runs on every
// node that has a proxy, one after the other, a client as the overlay has it.
func callThroughNodes(ctx context.Context, a *runner.Environment, _ *observe.Phase) error {
	proxied, err := reachNodes(ctx, a, ThroughNodes)
	if err != nil {
		return err
	}
	for _, node := range proxied {
		before, err := countedByProxies(ctx, a)
		if err != nil {
			return err
		}
		args := append(clientArgs(a), fmt.Sprintf("--count=%d", nodeCalls), fmt.Sprintf("--rate=%d", nodeRate), "--timeout=10s")
		ran, err := a.RunClient(ctx, runner.ClientJob{Name: "through-" + node, Args: args, Node: node, Limit: sidecarTimeout, MayFail: true})
		if err != nil {
			return err
		}
		after, err := countedByProxies(ctx, a)
		if err != nil {
			return err
		}
		for name := range after {
			after[name] -= before[name]
		}
		a.Record.Update(func(f *observe.Facts) {
			f.NodeProxies = append(f.NodeProxies, observe.NodeProxy{Node: node, Summary: ran.Summary, Counted: after})
		})
	}
	return nil
}

// clientArgs are the overlay's but for the rate.
func clientArgs(a *runner.Environment) []string {
	args := a.Clients.Spec.Template.Spec.Containers[0].Args
	return slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return strings.HasPrefix(arg, "--rate=") })
}

// reachNodes dials the proxy's port of every node and returns the nodes that
// have a proxy, sorted.
func reachNodes(ctx context.Context, a *runner.Environment, experiment string) (proxied []string, err error) {
	nodes, err := nodeAddresses(ctx, a)
	if err != nil {
		return nil, err
	}
	proxies, err := nodesProxies(ctx, a)
	if err != nil {
		return nil, err
	}
	for _, node := range observe.Keys(nodes) {
		args := append(clientArgs(a), fmt.Sprintf("--count=%d", reachCalls), "--rate=5", "--timeout=10s")
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "$(HOST_IP)", nodes[node])
		}
		// The name is the experiment's own: of two Jobs of one name the first
		// one's pod would answer for both.
		ran, err := a.RunClient(ctx, runner.ClientJob{Name: experiment + "-reach-" + node, Args: args, Limit: sidecarTimeout, MayFail: true})
		if err != nil {
			return nil, err
		}
		reach := observe.Reach{Node: node, Summary: ran.Summary, NoProxy: proxies[node] == "", Failure: ran.Failure}
		a.Note("%s", reachText(reach))
		a.Record.Update(func(f *observe.Facts) { f.Reached = append(f.Reached, reach) })
		if !reach.NoProxy {
			proxied = append(proxied, node)
		}
	}
	return proxied, nil
}

// nodeAddresses returns the addresses of the nodes by name.
func nodeAddresses(ctx context.Context, a *runner.Environment) (map[string]string, error) {
	list, err := a.Kube.Typed.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
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

// nodesProxies returns the proxies' pods that run, by node. One that waits for a
// node's port is none.
func nodesProxies(ctx context.Context, a *runner.Environment) (map[string]string, error) {
	pods, err := a.Kube.Typed.CoreV1().Pods(a.Namespace).List(ctx, metav1.ListOptions{LabelSelector: observe.NameLabel + "=" + a.Strategy.Proxy})
	if err != nil {
		return nil, fmt.Errorf("listing the proxies: %w", err)
	}
	proxies := map[string]string{}
	for _, p := range pods.Items {
		if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			proxies[p.Spec.NodeName] = p.Name
		}
	}
	return proxies, nil
}

// countedByProxies asks every node's Linkerd how many calls it was given.
func countedByProxies(ctx context.Context, a *runner.Environment) (map[string]int64, error) {
	proxies, err := nodesProxies(ctx, a)
	if err != nil {
		return nil, err
	}
	counted := map[string]int64{}
	for node, pod := range proxies {
		raw, err := a.Kube.ProxyGet(ctx, a.Namespace, pod, linkerdAdmin, "/admin/metrics.json")
		if err != nil {
			return nil, fmt.Errorf("the metrics of %s: %w", pod, err)
		}
		if counted[node], err = linkerdCounter(raw); err != nil {
			return nil, fmt.Errorf("the metrics of %s: %w", pod, err)
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
