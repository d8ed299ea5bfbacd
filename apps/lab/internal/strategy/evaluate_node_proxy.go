package strategy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// String says how many calls the node's port answered, and what failed.
func reachText(r observe.Reach) string {
	text := fmt.Sprintf("%d of %d calls to %s were answered", answered(r), reachCalls, r.Node)
	if r.NoProxy {
		text += ", no proxy runs there"
	}
	if answered(r) < reachCalls {
		text += fmt.Sprintf(", failures %v", r.Summary.Failures)
	}
	if r.Failure != "" {
		text += ", the last " + r.Failure
	}
	return text
}

func answered(r observe.Reach) int64 { return distribution.Counts(r.Summary.Servers).Total() }

// reached returns each node as it was found last, sorted.
func reached(f *observe.Facts) []observe.Reach {
	last := map[string]observe.Reach{}
	for _, r := range f.Reached {
		last[r.Node] = r
	}
	return slices.SortedFunc(maps.Values(last), func(a, b observe.Reach) int { return cmp.Compare(a.Node, b.Node) })
}

// everyNodeAnswers refutes by one node, in whatever experiment that was found,
// and proves by the one that calls all nodes when the proxies are warm.
func everyNodeAnswers(f *observe.Facts) runner.Verdict {
	nodes := reached(f)
	for _, r := range nodes {
		if r.NoProxy || answered(r) != reachCalls {
			return runner.Decided(false, "%s", reachText(r))
		}
	}
	if p, why := f.Phase(ThroughNodes); p == nil {
		return runner.NotRunFor(why)
	}
	if len(nodes) == 0 {
		return runner.NotRun("no node was called")
	}
	return runner.Decided(true, "%d nodes answered %d calls each", len(nodes), reachCalls)
}

// throughOwnNode wants each node's proxy to have counted its own client's calls
// and no other proxy any of them.
func throughOwnNode(f *observe.Facts) runner.Verdict {
	for _, r := range reached(f) {
		if r.NoProxy {
			return runner.Decided(false, "no proxy runs on %s", r.Node)
		}
	}
	if p, why := f.Phase(ThroughNodes); p == nil {
		return runner.NotRunFor(why)
	}
	if len(f.NodeProxies) < 2 {
		return runner.NotRun("clients called on %d nodes: there was no other to pass through", len(f.NodeProxies))
	}
	for _, n := range f.NodeProxies {
		if answered := distribution.Counts(n.Summary.Servers).Total(); answered != nodeCalls {
			return runner.Decided(false, "%d of %d calls on %s were answered, failures %v", answered, nodeCalls, n.Node, n.Summary.Failures)
		}
		for _, node := range observe.Keys(n.Counted) {
			want := int64(0)
			if node == n.Node {
				want = nodeCalls
			}
			if n.Counted[node] != want {
				return runner.Decided(false, "of %d calls on %s the proxy of %s counted %d, want %d", nodeCalls, n.Node, node, n.Counted[node], want)
			}
		}
		if _, counted := n.Counted[n.Node]; !counted {
			return runner.Decided(false, "%s has no proxy", n.Node)
		}
	}
	return runner.Decided(true, "on each of %d nodes its own proxy counted %d of %d calls, the others none", len(f.NodeProxies), nodeCalls, nodeCalls)
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
