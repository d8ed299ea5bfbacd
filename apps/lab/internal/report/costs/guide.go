package costs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// situation is what somebody brings along, and how the table answers it.
type situation struct {
	name string
	// fits picks rows, better orders them, best first, and proof says which of a
	// row's figures show it.
	fits   func(Row) bool
	better func(a, b Row) int
	proof  func(Row) string
	// advice says what follows, and where the figures end.
	advice string
}

// soon is what 'at once' means for new pods, in seconds.
const soon = 1.0

var situations = []situation{
	{
		name:   "I cannot change the client's code",
		fits:   func(r Row) bool { return r.Change.Code == "" && len(r.Change.Rights) == 0 && r.balances() },
		better: byAdded,
		proof: func(r Row) string {
			return fmt.Sprintf("changes %s, adds %s ms at p50, new pods after %s", r.change(), r.AddedP50.text(2), r.newPods())
		},
		advice: "A flag or nothing is all that these change. A sidecar needs not even the flag, and costs its memory in every pod; " +
			"proxies of their own cost it once.",
	},
	{
		name: "New pods must be called within a second",
		fits: func(r Row) bool {
			return r.NewPods != nil && r.Pairs > 0 && r.Called == r.Pairs && r.NewPods.Median <= soon
		},
		better: func(a, b Row) int { return cmp.Compare(a.NewPods.Median, b.NewPods.Median) },
		proof:  func(r Row) string { return fmt.Sprintf("new pods after %s", r.newPods()) },
		advice: "What is told of endpoints is at once; what asks DNS is late by TTL, caches and its own interval.",
	},
	{
		name:   "I pay for calls between zones",
		fits:   func(r Row) bool { return r.OtherNode != nil },
		better: func(a, b Row) int { return cmp.Compare(a.OtherNode.Median, b.OtherNode.Median) },
		proof: func(r Row) string {
			return fmt.Sprintf("%.0f %% of the calls are answered on another node", 100*r.OtherNode.Median)
		},
		advice: "Two nodes stand in for two zones here. Who spreads over all servers sends about half of the calls to the other zone, whoever spreads; " +
			"none of these overlays prefers its own. Not measured: a Service's `trafficDistribution` for l4, Istio's locality load balancing.",
	},
	{
		name:   "My streams live long",
		fits:   func(r Row) bool { return strings.HasSuffix(r.Strategy, "-max-age") },
		better: byName,
		proof: func(r Row) string {
			return fmt.Sprintf("new pods: %s, %s calls failed while servers restarted", r.newPods(), r.failed("rolling-restart"))
		},
		advice: "A balancer of calls chooses once a stream, so a stream stays where it began with every strategy. MaxConnectionAge ends " +
			"connections gracefully: streams must come to an end within MaxConnectionAgeGrace and be opened anew by the application.",
	},
	{
		name:   "I have thousands of clients",
		fits:   func(r Row) bool { return r.Connections != nil },
		better: func(a, b Row) int { return cmp.Compare(a.Connections.Median, b.Connections.Median) },
		proof: func(r Row) string {
			return fmt.Sprintf("%s connections a client with 3 servers", r.Connections.text(1))
		},
		advice: "N clients that balance by themselves hold N x M connections to M servers, each with a health check or a keepalive of its own; " +
			"k8s-api adds N watches on the API server, xds N streams to istiod. A few proxies bound both sides.",
	},
}

// limits is what no row shows.
const limits = `Limits to know before you choose:

- **Istio** balances no headless Service: the client's connection passes through to the pod that it chose.
- **Socket balancing by eBPF** (Cilium, Calico) picks a pod before a sidecar sees the call; with Cilium set ` + "`socketLB.hostNamespaceOnly=true`" + `.
- **Linkerd 1** ended in 2022 and reads core/v1 Endpoints, which Kubernetes deprecates.
- **dns** asks again at most each 30 s: a rolling restart that replaces every server sooner leaves its clients without an address.
- **MaxConnectionAge** spreads connections only in time, and each end of a connection costs a handshake.
- **Clients that balance** hold N x M connections, and each needs what tells it of endpoints: DNS, a watch, or a stream.
`

// balances says that new pods are called at all.
func (r Row) balances() bool { return r.Pairs > 0 && r.Called == r.Pairs }

func byAdded(a, b Row) int {
	switch {
	case a.AddedP50 == nil && b.AddedP50 == nil:
		return byName(a, b)
	case a.AddedP50 == nil: // no run compares it to the baseline
		return 1
	case b.AddedP50 == nil:
		return -1
	}
	return cmp.Compare(a.AddedP50.Median, b.AddedP50.Median)
}

func byName(a, b Row) int { return strings.Compare(a.Strategy, b.Strategy) }

// guide answers every situation from the table's rows.
func guide(t Table) string {
	var b strings.Builder
	for _, s := range situations {
		rows := slices.DeleteFunc(slices.Clone(t.Rows), func(r Row) bool { return r.NotRun != "" || !s.fits(r) })
		slices.SortStableFunc(rows, s.better)
		fmt.Fprintf(&b, "**%s.** ", s.name)
		if len(rows) == 0 {
			b.WriteString("No strategy that was run does")
		}
		for i, r := range rows {
			if i > 0 {
				b.WriteString("; ")
			}
			fmt.Fprintf(&b, "`%s`: %s", r.Strategy, s.proof(r))
		}
		fmt.Fprintf(&b, ". %s\n\n", s.advice)
	}
	return b.String() + limits
}
