package costs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
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
		advice: "These change a flag of the client, or nothing. A sidecar costs its memory in every pod; separate proxies cost it once.",
	},
	{
		name: "New pods must be called within a second",
		fits: func(r Row) bool {
			return r.NewPods != nil && r.Pairs > 0 && r.Called == r.Pairs && r.NewPods.Median <= soon
		},
		better: func(a, b Row) int { return cmp.Compare(a.NewPods.Median, b.NewPods.Median) },
		proof:  func(r Row) string { return fmt.Sprintf("new pods after %s", r.newPods()) },
		advice: "Strategies that receive pushes react at once; DNS lags by TTL, caches and its own interval.",
	},
	{
		name:   "I pay for calls between zones",
		fits:   func(r Row) bool { return r.figure(report.OtherNode) != nil },
		better: func(a, b Row) int { return a.compare(b, report.OtherNode) },
		proof: func(r Row) string {
			return fmt.Sprintf("%.0f %% of the calls are answered on another node", 100*r.figure(report.OtherNode).Median)
		},
		advice: "Two nodes stand in for two zones here. Every strategy that spreads calls over all servers sends about half of them to the other zone; " +
			"no overlay prefers its own zone. A Service's `trafficDistribution: PreferSameZone` changes that for l4, with new connections, and for k8s-api, at once: " +
			"`lab run --experiment zones` shows it. Not measured: Istio's locality load balancing.",
	},
	{
		name:   "My streams live long",
		fits:   func(r Row) bool { return strings.HasSuffix(r.Strategy, "-max-age") },
		better: byName,
		proof: func(r Row) string {
			return fmt.Sprintf("new pods: %s, %s calls failed while servers restarted", r.newPods(), r.failed("rolling-restart"))
		},
		advice: "With every strategy a stream stays on the server where it began. MaxConnectionAge ends " +
			"connections gracefully. It ends a stream only if MaxConnectionAgeGrace is limited, and the application must open it again: " +
			"`lab run --experiment stream` shows it.",
	},
	{
		name:   "I have thousands of clients",
		fits:   func(r Row) bool { return r.figure(report.Connections) != nil },
		better: func(a, b Row) int { return a.compare(b, report.Connections) },
		proof: func(r Row) string {
			return fmt.Sprintf("%s connections a client with 3 servers", r.figure(report.Connections).text(1))
		},
		advice: "N clients that balance by themselves hold N x M connections to M servers. k8s-api adds N watches on the API server, " +
			"xds adds N streams to istiod. A few proxies bound both numbers.",
	},
}

// limits is what no row shows.
const limits = `Limits to know before you choose:

- **Istio** does not balance a headless Service: the client's connection goes to the pod that the client chose.
- **Socket balancing by eBPF** (Cilium, Calico) picks a pod before a sidecar sees the call; with Cilium set ` + "`socketLB.hostNamespaceOnly=true`" + `.
- **Linkerd 1** ended in 2022 and reads core/v1 Endpoints, which Kubernetes deprecates.
- **dns** resolves at most every 30 s: a rolling restart that replaces every server sooner leaves its clients without an address.
- **MaxConnectionAge** spreads connections slowly, and each end of a connection costs a handshake.
- **Clients that balance** hold N x M connections, and each needs a source of endpoints: DNS, a watch, or a stream.
`

// balances says that new pods are called at all.
func (r Row) balances() bool { return r.Pairs > 0 && r.Called == r.Pairs }

// compare orders by a figure that both rows have.
func (r Row) compare(other Row, figure string) int {
	return cmp.Compare(r.Figures[figure].Median, other.Figures[figure].Median)
}

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
		rows := slices.DeleteFunc(slices.Clone(t.Rows), func(r Row) bool { return r.NotRun != "" || r.overTLS() || !s.fits(r) })
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
