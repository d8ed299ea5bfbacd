package experiment

import (
	"bytes"
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

// Reach is one node's port as a client in the cluster found it.
type Reach struct {
	Node    string
	Summary calllog.Summary
	// NoProxy says that no pod of the proxy ran there.
	NoProxy bool
	// Failure is the last code and error that the client logged.
	Failure string
}

// NodeProxy is a client on one node, and what each node's proxy counted
// meanwhile.
type NodeProxy struct {
	Node    string
	Summary calllog.Summary
	Counted map[string]int64
}

// warmUp waits until every client has had its answers for a while: the first
// calls of a JVM are slow. Where calls go on failing no other experiment finds its
// steady state, so each node's port is called now.
func warmUp(ctx context.Context, a *arena, _ *Phase) error {
	err := a.await(ctx, warmTimeout, "the proxies to be warm", func(f *Facts) string {
		return cold(f, int(*a.clients.Spec.Replicas))
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	if _, reachErr := a.reachNodes(ctx, WarmUp); reachErr != nil {
		a.note("%v", reachErr)
	}
	return err
}

// cold says which client has not had warmCalls answers in a row up to its last
// window, or "".
func cold(f *Facts, clients int) string {
	running := f.running()
	for _, name := range running {
		windows := f.Clients[name].Windows
		since := len(windows) // where the last windows without a failure begin
		for since > 0 && failures(windows[since-1:since]) == 0 {
			since--
		}
		if n := calls(windows[since:]).Total(); n < warmCalls {
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
	return keys(sum)
}

// silence stops the clients, so that nobody else calls.
func silence(ctx context.Context, a *arena, _ *Phase) error {
	if err := a.scale(ctx, a.facts.Client, 0); err != nil {
		return err
	}
	return a.await(ctx, shutdownTimeout, "the clients' last lines", func(f *Facts) string {
		return pending(f.Clients, func(c *Client) bool { return c.Ended })
	})
}

func unsilence(ctx context.Context, a *arena) error {
	return a.scale(ctx, a.facts.Client, int(*a.clients.Spec.Replicas))
}

// callThroughNodes dials the proxy's port of every node, and then runs on every
// node that has a proxy, one after the other, a client as the overlay has it.
func callThroughNodes(ctx context.Context, a *arena, _ *Phase) error {
	proxied, err := a.reachNodes(ctx, ThroughNodes)
	if err != nil {
		return err
	}
	for _, node := range proxied {
		before, err := a.countedByProxies(ctx)
		if err != nil {
			return err
		}
		args := append(a.clientArgs(), fmt.Sprintf("--count=%d", nodeCalls), fmt.Sprintf("--rate=%d", nodeRate), "--timeout=10s")
		summary, _, err := a.summarize(ctx, "through-"+node, node, args)
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

// clientArgs are the overlay's but for the rate.
func (a *arena) clientArgs() []string {
	args := a.clients.Spec.Template.Spec.Containers[0].Args
	return slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return strings.HasPrefix(arg, "--rate=") })
}

// reachNodes dials the proxy's port of every node and returns the nodes that
// have a proxy, sorted.
func (a *arena) reachNodes(ctx context.Context, experiment string) (proxied []string, err error) {
	nodes, err := a.nodes(ctx)
	if err != nil {
		return nil, err
	}
	proxies, err := a.nodesProxies(ctx)
	if err != nil {
		return nil, err
	}
	for _, node := range keys(nodes) {
		args := append(a.clientArgs(), fmt.Sprintf("--count=%d", reachCalls), "--rate=5", "--timeout=10s")
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "$(HOST_IP)", nodes[node])
		}
		// The name is the experiment's own: of two Jobs of one name the first
		// one's pod would answer for both.
		summary, failure, err := a.summarize(ctx, experiment+"-reach-"+node, "", args)
		if err != nil {
			return nil, err
		}
		reach := Reach{Node: node, Summary: *summary, NoProxy: proxies[node] == "", Failure: failure}
		a.note("%s", reach)
		a.record.update(func(f *Facts) { f.Reached = append(f.Reached, reach) })
		if !reach.NoProxy {
			proxied = append(proxied, node)
		}
	}
	return proxied, nil
}

// summarize runs one client as a Job, on a node where one is given, and returns
// its summary and the last failure that it logged. That nobody answers is a
// result too.
func (a *arena) summarize(ctx context.Context, name, node string, args []string) (summary *calllog.Summary, failure string, err error) {
	j := job(name, a.clients.Spec.Template, args)
	j.Spec.Template.Spec.NodeName = node // as a DaemonSet's pods, it runs on a cordoned node too
	ended, err := a.runJob(ctx, sidecarTimeout, j)
	if err != nil {
		return nil, "", err
	}
	raw, err := a.client.CoreV1().Pods(a.facts.Namespace).GetLogs(ended.Name, &corev1.PodLogOptions{Container: a.facts.Client}).DoRaw(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("reading the log of Job %s: %w", name, err)
	}
	if summary, failure = outcome(raw); summary == nil {
		return nil, "", fmt.Errorf("job %s ended with %d and logged no summary: %.300q", name, exit(ended, a.facts.Client).ExitCode, raw)
	}
	return summary, failure, a.deleteJob(ctx, name)
}

// outcome reads a client's log. A client that nobody answered says so below its
// summary, in a line that is none of the log's.
func outcome(raw []byte) (summary *calllog.Summary, failure string) {
	for line, err := range calllog.Read(bytes.NewReader(raw)) {
		if err != nil {
			continue
		}
		switch l := line.(type) {
		case *calllog.Summary:
			summary = l
		case *calllog.Failure:
			failure = l.Code + ": " + strings.Join(strings.Fields(l.Error), " ")
		}
	}
	return summary, failure
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

// nodesProxies returns the proxies' pods that run, by node. One that waits for a
// node's port is none.
func (a *arena) nodesProxies(ctx context.Context) (map[string]string, error) {
	pods, err := a.client.CoreV1().Pods(a.facts.Namespace).List(ctx, metav1.ListOptions{LabelSelector: nameLabel + "=" + a.strategy.Proxy})
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
func (a *arena) countedByProxies(ctx context.Context) (map[string]int64, error) {
	proxies, err := a.nodesProxies(ctx)
	if err != nil {
		return nil, err
	}
	counted := map[string]int64{}
	for node, pod := range proxies {
		raw, err := a.kube.ProxyGet(ctx, a.facts.Namespace, pod, linkerdAdmin, "/admin/metrics.json")
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
