package experiment

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

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

// reached returns each node as it was found last, sorted.
func (f *Facts) reached() []Reach {
	last := map[string]Reach{}
	for _, r := range f.Reached {
		last[r.Node] = r
	}
	return slices.SortedFunc(maps.Values(last), func(a, b Reach) int { return cmp.Compare(a.Node, b.Node) })
}

// everyNodeAnswers refutes by one node, in whatever experiment that was found,
// and proves by the one that calls all nodes when the proxies are warm.
func everyNodeAnswers(f *Facts) Verdict {
	nodes := f.reached()
	for _, r := range nodes {
		if r.NoProxy || r.answered() != reachCalls {
			return decided(false, "%s", r)
		}
	}
	if p, why := f.phase(ThroughNodes); p == nil {
		return notRun("%s", why)
	}
	if len(nodes) == 0 {
		return notRun("no node was called")
	}
	return decided(true, "%d nodes answered %d calls each", len(nodes), reachCalls)
}

// throughOwnNode wants each node's proxy to have counted its own client's calls
// and no other proxy any of them.
func throughOwnNode(f *Facts) Verdict {
	for _, r := range f.reached() {
		if r.NoProxy {
			return decided(false, "no proxy runs on %s", r.Node)
		}
	}
	if p, why := f.phase(ThroughNodes); p == nil {
		return notRun("%s", why)
	}
	if len(f.NodeProxies) < 2 {
		return notRun("clients called on %d nodes: there was no other to pass through", len(f.NodeProxies))
	}
	for _, n := range f.NodeProxies {
		if answered := distribution.Counts(n.Summary.Servers).Total(); answered != nodeCalls {
			return decided(false, "%d of %d calls on %s were answered, failures %v", answered, nodeCalls, n.Node, n.Summary.Failures)
		}
		for _, node := range keys(n.Counted) {
			want := int64(0)
			if node == n.Node {
				want = nodeCalls
			}
			if n.Counted[node] != want {
				return decided(false, "of %d calls on %s the proxy of %s counted %d, want %d", nodeCalls, n.Node, node, n.Counted[node], want)
			}
		}
		if _, counted := n.Counted[n.Node]; !counted {
			return decided(false, "%s has no proxy", n.Node)
		}
	}
	return decided(true, "on each of %d nodes its own proxy counted %d of %d calls, the others none", len(f.NodeProxies), nodeCalls, nodeCalls)
}

// warmed says what the first calls cost.
func warmed(f *Facts, p *Phase) report.Finding {
	var failed, all int64
	for _, name := range keys(f.Clients) {
		windows := f.Clients[name].between(f.Clients[name].Started, p.End)
		failed += failures(windows)
		for _, w := range windows {
			all += w.Calls
		}
	}
	return report.Finding{
		Text: "the proxies answer from their first call on", Holds: failed == 0,
		Measured: fmt.Sprintf("%d of the first %d calls failed in %s, none of each client's last %d", failed, all, seconds(p.End.Sub(f.Started).Round(100_000_000)), warmCalls),
	}
}
