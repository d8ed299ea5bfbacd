package strategy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Names of experiments, by which claims find their phases.
const (
	WarmUp       = "warm-up"
	ThroughNodes = "through-nodes"
)

// inPlaceClaim is judged where the strategy cannot run, too.
const inPlaceClaim = 17

var _ = add(runner.Strategy{
	Name: "linkerd", Order: 60,
	Recognises:  func(v balance.View) bool { return v.NodeProxy != "" },
	Balancer:    "Linkerd 1, a proxy on each node",
	EveryServer: true,
	Proxy:       "l5d",
	Grants: []manifest.Grant{{Workload: "DaemonSet/l5d", Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"endpoints"}, Verbs: []string{"get", "list", "watch"}},
	}}},
	Preflight: &runner.Preflighter{Claim: inPlaceClaim, Check: preflight, Rights: []runner.Access{
		nodesListed,
		{Resources: []string{"pods"}, Verbs: []string{"list"}, Everywhere: true},
		{Group: "authorization.k8s.io", Resources: []string{"subjectaccessreviews"}, Verbs: []string{"create"}, Everywhere: true},
	}},
	Claims: []runner.Claim{
		{
			ID:        10,
			Text:      "every node's port of the proxy answers",
			Criterion: by(answersOfNode(reachCalls), everyNodeAnswers),
		},
		{
			ID:        11,
			Text:      "a client's calls pass through its own node's proxy",
			Criterion: by(countedByOwnNode(nodeCalls), throughOwnNode),
		},
		{
			ID:   12,
			Text: "path, dtab and namer spread the calls and see a scale-out",
			Goal: newPodGoal,
			Criterion: all(
				of(Steady, evenEnough, spreadFairly),
				// The proxy on each node may be a JVM.
				ofAdded(within{What: "new pods", Delay: Delay{Fixed: 10 * time.Second}, Of: "of Ready"}, called),
			),
		},
		{
			ID:        inPlaceClaim,
			Text:      "all but the proxy's image is in place",
			Static:    true,
			Criterion: by(exactly("no problem in files, rights, ports and dtab"), inPlace),
		},
	},
	Experiments: []runner.Experiment{
		{
			Name:    WarmUp,
			Rights:  always(nodesListed),
			Steady:  serversReady,
			Change:  "none: the proxies get their first calls",
			Observe: warmUp,
			Assert:  func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{warmed(f, p)} },
		},
		{
			Name: ThroughNodes, Purpose: runner.Prove, Edits: true,
			Rights:  always(nodesListed, runner.Access{Resources: []string{"pods/proxy"}, Verbs: []string{"get"}}),
			Steady:  everyServerCalled,
			Change:  fmt.Sprintf("the clients stop; Jobs make %d calls to each node's port, and %d calls on each node as its clients do", reachCalls, nodeCalls),
			Act:     silence,
			Observe: callThroughNodes,
			Undo:    unsilence,
		},
	},
})

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

// ThroughProxies is what was seen of the nodes' proxies: their ports as they were
// called, and a client on each node.
type ThroughProxies struct {
	Reached []Reach
	Through []NodeProxy
}

// Summaries counts the Jobs' calls.
func (t *ThroughProxies) Summaries() []calllog.Summary {
	var all []calllog.Summary
	for _, r := range t.Reached {
		all = append(all, r.Summary)
	}
	for _, n := range t.Through {
		all = append(all, n.Summary)
	}
	return all
}

// Reach is one node's port as a client in the cluster found it.
type Reach struct {
	Node    string
	Summary calllog.Summary
	// NoProxy says that no pod of the proxy ran there.
	NoProxy bool
	// Failure is the last code and error that the client logged.
	Failure string
}

// String says how many calls the node's port answered, and what failed.
func (r Reach) String() string {
	text := fmt.Sprintf("%d of %d calls to %s were answered", r.answered(), reachCalls, r.Node)
	if r.NoProxy {
		text += ", no proxy runs there"
	}
	if r.answered() < reachCalls {
		text += fmt.Sprintf(", failures %v", r.Summary.Failures)
	}
	if r.Failure != "" {
		text += ", the last " + r.Failure
	}
	return text
}

func (r Reach) answered() int64 { return distribution.Counts(r.Summary.Servers).Total() }

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
func warmUp(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	err := env.Await(ctx, warmTimeout, "the proxies to be warm", func(f *observe.Facts) string {
		return cold(f, int(*env.Clients.Spec.Replicas))
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	if _, reachErr := reachNodes(ctx, env, WarmUp, p); reachErr != nil {
		env.Note("%v", reachErr)
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

// warmed says what the first calls cost.
func warmed(f *observe.Facts, p *observe.Phase) report.Finding {
	var failed, all int64
	for _, name := range observe.Keys(f.Clients) {
		windows := f.Clients[name].Between(f.Clients[name].Started, p.End)
		failed += observe.Failures(windows)
		for _, w := range windows {
			all += w.Calls
		}
	}
	return report.Finding{
		Text: "the proxies answer from their first call on", Holds: failed == 0,
		Measured: fmt.Sprintf("%d of the first %d calls failed in %s, none of each client's last %d", failed, all, runner.Seconds(p.End.Sub(f.Started).Round(100_000_000)), warmCalls),
	}
}

// silence stops the clients, so that nobody else calls.
func silence(ctx context.Context, env *runner.Environment, _ *observe.Phase) error {
	return env.StopClients(ctx)
}

func unsilence(ctx context.Context, env *runner.Environment) error {
	return env.Scale(ctx, env.Client, int(*env.Clients.Spec.Replicas))
}

// callThroughNodes dials the proxy's port of every node, and then runs on every
// node that has a proxy, one after the other, a client as the overlay has it.
func callThroughNodes(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	proxied, err := reachNodes(ctx, env, ThroughNodes, p)
	if err != nil {
		return err
	}
	for _, node := range proxied {
		before, err := countedByProxies(ctx, env)
		if err != nil {
			return err
		}
		args := append(clientArgs(env), fmt.Sprintf("--count=%d", nodeCalls), fmt.Sprintf("--rate=%d", nodeRate), "--timeout=10s")
		ran, err := env.RunClient(ctx, runner.ClientJob{Name: "through-" + node, Args: args, Node: node, Limit: sidecarTimeout, MayFail: true})
		if err != nil {
			return err
		}
		after, err := countedByProxies(ctx, env)
		if err != nil {
			return err
		}
		for name := range after {
			after[name] -= before[name]
		}
		env.Record.Update(func(f *observe.Facts) {
			seen := observe.EvidenceOf[*ThroughProxies](f, ThroughNodes)
			seen.Through = append(seen.Through, NodeProxy{node, ran.Summary, after})
		})
	}
	return nil
}

// clientArgs are the overlay's but for the rate.
func clientArgs(env *runner.Environment) []string {
	args := env.Clients.Spec.Template.Spec.Containers[0].Args
	return slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return strings.HasPrefix(arg, "--rate=") })
}

// reachNodes dials the proxy's port of every node and returns the nodes that
// have a proxy, sorted.
func reachNodes(ctx context.Context, env *runner.Environment, experiment string, p *observe.Phase) (proxied []string, err error) {
	nodes, err := nodes(ctx, env)
	if err != nil {
		return nil, err
	}
	proxies, err := nodesProxies(ctx, env)
	if err != nil {
		return nil, err
	}
	seen := &ThroughProxies{}
	env.Record.Update(func(*observe.Facts) { p.Evidence = seen })
	for _, node := range observe.Keys(nodes) {
		args := append(clientArgs(env), fmt.Sprintf("--count=%d", reachCalls), "--rate=5", "--timeout=10s")
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "$(HOST_IP)", nodes[node])
		}
		// The name is the experiment's own: of two Jobs of one name the first
		// one's pod would answer for both.
		ran, err := env.RunClient(ctx, runner.ClientJob{Name: experiment + "-reach-" + node, Args: args, Limit: sidecarTimeout, MayFail: true})
		if err != nil {
			return nil, err
		}
		reach := Reach{Node: node, Summary: ran.Summary, NoProxy: proxies[node] == "", Failure: ran.Failure}
		env.Note("%s", reach)
		env.Record.Update(func(*observe.Facts) { seen.Reached = append(seen.Reached, reach) })
		if !reach.NoProxy {
			proxied = append(proxied, node)
		}
	}
	return proxied, nil
}

// nodes returns the addresses of the nodes by name.
func nodes(ctx context.Context, env *runner.Environment) (map[string]string, error) {
	list, err := env.Kube.Typed.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
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
func nodesProxies(ctx context.Context, env *runner.Environment) (map[string]string, error) {
	pods, err := env.Kube.Typed.CoreV1().Pods(env.Namespace).List(ctx, metav1.ListOptions{LabelSelector: observe.NameLabel + "=" + env.Strategy.Proxy})
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
func countedByProxies(ctx context.Context, env *runner.Environment) (map[string]int64, error) {
	proxies, err := nodesProxies(ctx, env)
	if err != nil {
		return nil, err
	}
	counted := map[string]int64{}
	for node, pod := range proxies {
		raw, err := env.Kube.ProxyGet(ctx, env.Namespace, pod, linkerdAdmin, "/admin/metrics.json")
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

// reached returns each node as it was found last, sorted.
func reached(f *observe.Facts) []Reach {
	last := map[string]Reach{}
	for _, experiment := range []string{WarmUp, ThroughNodes} {
		if seen := observe.EvidenceOf[*ThroughProxies](f, experiment); seen != nil {
			for _, r := range seen.Reached {
				last[r.Node] = r
			}
		}
	}
	return slices.SortedFunc(maps.Values(last), func(a, b Reach) int { return cmp.Compare(a.Node, b.Node) })
}

// answersOfNode is how many calls each node's port must answer.
type answersOfNode int64

func (n answersOfNode) Sentence(observe.DNS) string {
	return fmt.Sprintf("%d calls to each node are answered", int64(n))
}

// everyNodeAnswers refutes by one node, in any experiment,
// and proves by the one that calls all nodes when the proxies are warm.
func everyNodeAnswers(f *observe.Facts, calls answersOfNode) runner.Verdict {
	nodes := reached(f)
	for _, r := range nodes {
		if r.NoProxy || r.answered() != int64(calls) {
			return runner.Decided(false, "%s", r)
		}
	}
	if p, why := f.Phase(ThroughNodes); p == nil {
		return runner.NotRunFor(why)
	}
	if len(nodes) == 0 {
		return runner.NotRun("no node was called")
	}
	return runner.Decided(true, "%d nodes answered %d calls each", len(nodes), calls).With("%d nodes", len(nodes))
}

// countedByOwnNode is how many calls of a client its own node's proxy must count.
type countedByOwnNode int64

func (n countedByOwnNode) Sentence(observe.DNS) string {
	return fmt.Sprintf("the node's proxy counts all of %d calls, the others none", int64(n))
}

// throughOwnNode wants each node's proxy to have counted its own client's calls
// and no other proxy any of them.
func throughOwnNode(f *observe.Facts, calls countedByOwnNode) runner.Verdict {
	for _, r := range reached(f) {
		if r.NoProxy {
			return runner.Decided(false, "no proxy runs on %s", r.Node)
		}
	}
	if p, why := f.Phase(ThroughNodes); p == nil {
		return runner.NotRunFor(why)
	}
	var through []NodeProxy
	if seen := observe.EvidenceOf[*ThroughProxies](f, ThroughNodes); seen != nil {
		through = seen.Through
	}
	if len(through) < 2 {
		return runner.NotRun("clients called on %d nodes: there was no other to pass through", len(through))
	}
	for _, n := range through {
		if answered := distribution.Counts(n.Summary.Servers).Total(); answered != int64(calls) {
			return runner.Decided(false, "%d of %d calls on %s were answered, failures %v", answered, calls, n.Node, n.Summary.Failures)
		}
		for _, node := range observe.Keys(n.Counted) {
			want := int64(0)
			if node == n.Node {
				want = int64(calls)
			}
			if n.Counted[node] != want {
				return runner.Decided(false, "of %d calls on %s the proxy of %s counted %d, want %d", calls, n.Node, node, n.Counted[node], want)
			}
		}
		if _, counted := n.Counted[n.Node]; !counted {
			return runner.Decided(false, "%s has no proxy", n.Node)
		}
	}
	return runner.Decided(true, "on each of %d nodes its own proxy counted %d of %d calls, the others none", len(through), calls, calls).With("%d of %d calls", calls, calls)
}

// inPlace wants everything but the image.
func inPlace(f *observe.Facts, _ exactly) runner.Verdict {
	p := f.Preflight
	if p == nil {
		return runner.NotRunFor(cmp.Or(f.PreflightUnknown, observe.Reason{Text: "it was not checked"}))
	}
	if len(p.Problems) > 0 {
		return runner.Decided(false, "%s", strings.Join(p.Problems, "; "))
	}
	return runner.Decided(p.Rights == len(needs), "the API server takes %d objects, its account may %s endpoints, the port is free on %d nodes, the dtab leads to a Service port of the overlay",
		p.Objects, strings.Join(needs, ", "), p.Nodes).With("%d objects", p.Objects)
}
