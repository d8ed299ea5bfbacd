package strategy

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// NodeAway is the name of the experiment.
const NodeAway = "node-away"

const (
	// takenForDead is how long EndpointSlices may name the servers of a node that is silent:
	// 50 s (node-monitor-grace-period of kube-controller-manager) and a margin.
	takenForDead = 90 * time.Second
	// nodeBackTime is how long a node may take to be Ready once its link is back.
	nodeBackTime = 55 * time.Second
	// mostDeals bounds how often clients are restarted until one has something to lose.
	mostDeals = 8
)

var (
	// noticed is how soon a client must give a silent connection up. While calls are in
	// flight the kernel does so once data was not acknowledged for --keepalive-timeout, by
	// default 10 s (TCP_USER_TIMEOUT, gRFC A18); the last call fails a second later.
	noticed = within{What: "the last call fails", Delay: Delay{Fixed: 15 * time.Second}, Of: "of the link's end"}
	// avoided is how soon calls must work once a ClusterIP leads to live nodes only: an
	// attempt to connect lasts 20 s in grpc-go, and 10 s are a margin.
	avoided = within{What: "the last call fails", Delay: Delay{Fixed: 20*time.Second + 10*time.Second}, Of: "after EndpointSlices dropped the node"}
)

var _ = makeOnRequest(Asked{
	Experiment: runner.Experiment{
		Name:    NodeAway,
		Rights:  always(nodesListed),
		Steady:  runner.State{Text: "all servers are ready, the clients' last two windows are free of failures, a client on another node calls a server on a worker", Hold: somethingToLose},
		Change:  "take the link of the worker with the most servers down until EndpointSlices have dropped it",
		Observe: watchNodeAway,
		Alone:   true,
		Undo:    nodeBack,
	},
	Question: "How soon do clients leave servers whose node is a black hole?",
	OneByOne: true,
	Claims: []About{
		{
			Strategies: []string{"dns", "k8s-api"},
			Claim: runner.Claim{
				ID:        57,
				Text:      "clients on other nodes find by keepalive that a node is a black hole",
				Criterion: of(NodeAway, noticed, leftInTime),
			},
		},
		{
			Strategies: []string{"l4", "envoy"},
			Claim: runner.Claim{
				ID:        58,
				Text:      "behind a ClusterIP calls work again at the latest when EndpointSlices have dropped a black hole",
				Criterion: of(NodeAway, avoided, avoidedInTime),
			},
		},
	},
})

// CutOff is evidence of a node that was a black hole.
type CutOff struct{ Node string }

// survivors are the clients on other nodes.
func (c CutOff) survivors(f *observe.Facts, clients []string) []string {
	return slices.DeleteFunc(slices.Clone(clients), func(name string) bool { return f.Nodes[name] == c.Node })
}

// atRisk tells whether a client on another node called a server on this one in its last window.
func (c CutOff) atRisk(f *observe.Facts) bool {
	for _, name := range c.survivors(f, f.Running()) {
		for server := range observe.Calls(f.Clients[name].LastBefore(time.Now())) {
			if f.Nodes[server] == c.Node {
				return true
			}
		}
	}
	return false
}

// servers counts those on the node that are ready.
func (c CutOff) servers(f *observe.Facts, ready []string) (n int) {
	for _, server := range ready {
		if f.Nodes[server] == c.Node {
			n++
		}
	}
	return n
}

// dropped is when EndpointSlices no longer named the node's servers, zero for never.
func (c CutOff) dropped(f *observe.Facts, p *observe.Phase) time.Time {
	for _, e := range f.Endpoints {
		if e.At.After(p.Change) && c.servers(f, observe.Keys(e.Ready)) == 0 {
			return e.At
		}
	}
	return time.Time{}
}

// somethingToLose is a steady state in which a client on another node calls a server on the
// worker. A ClusterIP deals the servers at random, so clients may have to be restarted.
func somethingToLose(ctx context.Context, env *runner.Environment) error {
	for deal := 0; ; deal++ {
		if err := env.Steady(ctx, env.Replicas(), false); err != nil {
			return err
		}
		node, _, _, err := busiestWorker(env)
		if err != nil {
			return err
		}
		risked := false
		env.Record.Look(func(f *observe.Facts) { risked = CutOff{node}.atRisk(f) })
		if risked {
			return nil
		}
		if deal == mostDeals {
			return fmt.Errorf("after %d restarts no client on another node calls a server on %s", deal, node)
		}
		if err := env.RestartClients(ctx); err != nil {
			return err
		}
	}
}

func watchNodeAway(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	name, _, _, err := busiestWorker(env)
	if err != nil {
		return err
	}
	node := CutOff{name}
	env.Record.Update(func(*observe.Facts) { p.Evidence = &node })
	if err := without(ctx, env, p, cluster.Fault{Kind: cluster.LinkDown, Node: node.Node}, func(ctx context.Context) error {
		if err := env.Await(ctx, takenForDead, "EndpointSlices without the servers on "+node.Node, func(f *observe.Facts) string {
			if node.dropped(f, p).IsZero() {
				return fmt.Sprintf("%d of them are ready", node.servers(f, f.ReadyNow()))
			}
			return ""
		}); err != nil {
			return err
		}
		err := env.Await(ctx, avoided.In(env.DNS), "calls without failures", func(f *observe.Facts) string {
			return troubled(f, node.survivors(f, p.Clients))
		})
		if err != nil && ctx.Err() != nil {
			return err // that they fail on is a result
		}
		return nil
	}); err != nil {
		return err
	}
	if err := nodeBack(ctx, env); err != nil {
		return err
	}
	if err := env.ServersReady(ctx, env.Replicas()); err != nil {
		return err
	}
	if err := env.Await(ctx, runner.SteadyTimeout, "the logs of all clients", func(f *observe.Facts) string {
		return troubled(f, p.Clients)
	}); err != nil && ctx.Err() != nil {
		return err // the clients that were cut off are not judged
	}
	return poll.Sleep(ctx, afterwards)
}

// troubled says which of the clients has not logged three windows without failures last.
func troubled(f *observe.Facts, clients []string) string {
	const windows = 3
	for _, name := range clients {
		now := time.Now()
		last := f.Clients[name].Between(now.Add(-(windows+2)*time.Second), now)
		if len(last) < windows {
			return fmt.Sprintf("%s has logged %d windows of late", name, len(last))
		}
		if n := observe.Failures(last[len(last)-windows:]); n > 0 {
			return fmt.Sprintf("%d calls of %s failed", n, name)
		}
	}
	return ""
}

// nodeBack waits until the node is Ready that was a black hole.
func nodeBack(ctx context.Context, env *runner.Environment) error {
	var cut *CutOff
	env.Record.Look(func(f *observe.Facts) { cut = observe.EvidenceOf[*CutOff](f, NodeAway) })
	if cut == nil {
		return nil
	}
	env.Note("wait until %s is Ready", cut.Node)
	ctx, cancel := context.WithTimeoutCause(ctx, nodeBackTime, fmt.Errorf("not in %s", runner.Seconds(nodeBackTime)))
	defer cancel()
	return poll.Until(ctx, time.Second, func(ctx context.Context) (string, error) {
		nodes, err := env.Kube.Typed.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", fmt.Errorf("looking at node %s: %w", cut.Node, err)
		}
		for _, n := range nodes.Items {
			if n.Name == cut.Node && slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
				return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
			}) {
				return "", nil
			}
		}
		return "node " + cut.Node + " is not Ready", nil
	})
}

// loss is what clients on live nodes lost.
type loss struct {
	Last        time.Time // the end of the last window in which a call failed
	Failed, All int64
	Clients     int
	Dropped     time.Time
}

// lossOf counts the failed calls of the clients on other nodes, or says why that cannot be.
func lossOf(f *observe.Facts, p *observe.Phase) (l loss, why string) {
	node, _ := p.Evidence.(*CutOff)
	if node == nil || p.Restored.IsZero() {
		return l, "no node was cut off"
	}
	l.Dropped = node.dropped(f, p)
	for _, name := range node.survivors(f, p.Clients) {
		windows := f.Clients[name].Between(p.Begin, p.End)
		if len(windows) == 0 || windows[len(windows)-1].End.Before(p.Restored) {
			return l, "the log of " + name + " ends before the link was back"
		}
		l.Clients++
		for _, w := range windows {
			l.All += w.Calls
			if n := observe.Failures([]calllog.Window{w}); n > 0 {
				l.Failed += n
				if w.End.After(l.Last) {
					l.Last = w.End
				}
			}
		}
	}
	if l.Failed == 0 {
		return l, fmt.Sprintf("no call of %d clients on other nodes failed: they had nothing to lose", l.Clients)
	}
	return l, ""
}

// verdict decides by how long after a moment the last call failed.
func (l loss) verdict(f *observe.Facts, p *observe.Phase, limit within, since time.Time) runner.Verdict {
	lasted, dropped := l.Last.Sub(p.Change).Round(100*time.Millisecond), "never"
	if !l.Dropped.IsZero() {
		dropped = "after " + runner.Seconds(l.Dropped.Sub(p.Change).Round(100*time.Millisecond))
	}
	return runner.Decided(l.Last.Sub(since) <= limit.In(f.DNS), "%d of %d calls failed on live nodes (clients there: %d), the last %s after the link went down; EndpointSlices dropped the node %s",
		l.Failed, l.All, l.Clients, runner.Seconds(lasted), dropped).With("%s, %d calls lost", runner.Seconds(lasted), l.Failed)
}

// leftInTime wants the last call to fail soon after the link went down.
func leftInTime(f *observe.Facts, p *observe.Phase, limit within) runner.Verdict {
	l, why := lossOf(f, p)
	if why != "" {
		return runner.NotRun("%s", why)
	}
	return l.verdict(f, p, limit, p.Change)
}

// avoidedInTime wants the last call to fail soon after EndpointSlices dropped the node.
func avoidedInTime(f *observe.Facts, p *observe.Phase, limit within) runner.Verdict {
	l, why := lossOf(f, p)
	switch {
	case why != "":
		return runner.NotRun("%s", why)
	case l.Dropped.IsZero():
		return runner.NotRun("EndpointSlices did not drop the node")
	}
	return l.verdict(f, p, limit, l.Dropped)
}
