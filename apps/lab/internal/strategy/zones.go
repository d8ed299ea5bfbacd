package strategy

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Zones is the name of the experiment.
const Zones = "zones"

const (
	// zoneWatch is how long clients are watched at a time.
	zoneWatch = 8 * time.Second
	// zoneFresh is how many connections a client in each zone opens before the change and
	// after it.
	zoneFresh = 100
)

// servicesPatched changes a Service.
var servicesPatched = runner.Access{Resources: []string{"services"}, Verbs: []string{"patch"}}

var _ = makeOnRequest(Asked{
	Experiment: runner.Experiment{
		Name:    Zones,
		Rights:  always(nodesListed, servicesPatched),
		Steady:  noFailure,
		Change:  "set trafficDistribution: PreferSameZone on the Service; restart clients that connect to it; scale the servers to 1, which leaves zones without a server",
		Act:     preferSameZone,
		Observe: watchZones,
		Assert: func(f *observe.Facts, p *observe.Phase) []report.Finding {
			return []report.Finding{emptyZoneIsServed(f, p)}
		},
		Edits: true,
		Undo: func(ctx context.Context, env *runner.Environment) error {
			if err := distribute(ctx, env, "null"); err != nil {
				return err
			}
			return asBefore(ctx, env)
		},
	},
	Question: "Do calls stay in the client's zone with a Service's trafficDistribution: PreferSameZone (KEP-3015)?",
	Claims: []About{
		{
			Strategies: []string{"l4"},
			Claim: runner.Claim{
				ID:   49,
				Text: "with PreferSameZone new connections to the ClusterIP stay in the client's zone, and old ones where they are",
				Criterion: of(Zones, exactly("some new connections cross zones before and none after; no client moves before its restart, and 0 calls cross zones after it"),
					connectionsPrefer),
			},
		},
		{
			Strategies: []string{"k8s-api"},
			Claim: runner.Claim{
				ID:        50,
				Text:      "with PreferSameZone the resolver's clients call their own zone alone, without a restart",
				Criterion: of(Zones, within{What: "some calls cross zones before, 0", Delay: Delay{Fixed: 5 * time.Second}, Of: "after the change"}, resolverPrefers),
			},
		},
	},
})

// Zoned is evidence of where calls went.
type Zoned struct {
	Of map[string]string // zone by node
	// Before and After hold the calls, each on a new connection, of a client in each zone
	// where clients connect to the Service.
	Before, After []runner.ClientResult
	// Changed is when the Service was changed, Restarting when clients were restarted as
	// Clients, which were watched until Alone. Then one server was left from Emptied on.
	Changed, Restarting, Restarted, Alone, Emptied time.Time
	Clients                                        []string
}

// Summaries counts the Jobs' calls.
func (z *Zoned) Summaries() (all []calllog.Summary) {
	for _, ran := range slices.Concat(z.Before, z.After) {
		all = append(all, ran.Summary)
	}
	return all
}

// of returns the zone of a pod.
func (z *Zoned) of(f *observe.Facts, pod string) string { return z.Of[f.Nodes[pod]] }

// crossing counts the calls of a pod that another zone answered, and all.
func (z *Zoned) crossing(f *observe.Facts, pod string, servers distribution.Counts) (crossed, all int64) {
	for server, n := range servers {
		all += n
		if z.of(f, server) != z.of(f, pod) {
			crossed += n
		}
	}
	return crossed, all
}

// during is crossing of clients in a time.
func (z *Zoned) during(f *observe.Facts, clients []string, from, to time.Time) (crossed, all int64) {
	for _, name := range clients {
		c, n := z.crossing(f, name, observe.Calls(f.Clients[name].Between(from, to)))
		crossed, all = crossed+c, all+n
	}
	return crossed, all
}

// fresh is crossing of Jobs.
func (z *Zoned) fresh(f *observe.Facts, ran []runner.ClientResult) (crossed, all int64) {
	for _, r := range ran {
		c, n := z.crossing(f, r.Pod, r.Summary.Servers)
		crossed, all = crossed+c, all+n
	}
	return crossed, all
}

// preferSameZone looks where calls go, and changes the Service.
func preferSameZone(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	list, err := env.Kube.Typed.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the nodes: %w", err)
	}
	z := &Zoned{Of: map[string]string{}}
	for _, n := range list.Items {
		z.Of[n.Name] = n.Labels[corev1.LabelTopologyZone]
	}
	var serverZones, clientZones map[string]string
	env.Record.Update(func(f *observe.Facts) {
		p.Evidence = z
		serverZones, clientZones = z.nodes(f, p.Servers), z.nodes(f, p.Clients)
	})
	if len(serverZones) < 2 || len(runner.Without(observe.Keys(clientZones), observe.Keys(serverZones))) > 0 {
		return observe.Reason{Text: fmt.Sprintf("servers run in the zones %q, clients in %q: expected servers in two zones, and in each that has clients", observe.Keys(serverZones), observe.Keys(clientZones))}
	}
	if connectsOnce(env) {
		if z.Before, err = openInZones(ctx, env, "before", clientZones); err != nil {
			return err
		}
	} else if err := poll.Sleep(ctx, zoneWatch/2); err != nil {
		return err
	}
	z.Changed = time.Now()
	err = distribute(ctx, env, `"`+corev1.ServiceTrafficDistributionPreferSameZone+`"`)
	if apierrors.IsInvalid(err) {
		return observe.Reason{Kind: observe.Lacking, Text: "Kubernetes does not know PreferSameZone: expected 1.34 or later: " + err.Error()}
	}
	return err
}

// connectsOnce says that clients keep to the server that a connection led to.
func connectsOnce(env *runner.Environment) bool { return !env.Strategy.EveryServer }

// nodes returns a node of each zone in which a pod of them runs.
func (z *Zoned) nodes(f *observe.Facts, pods []string) map[string]string {
	nodes := map[string]string{}
	for _, pod := range pods {
		if zone := z.of(f, pod); zone != "" {
			nodes[zone] = f.Nodes[pod]
		}
	}
	return nodes
}

// distribute sets the field of the servers' Service to a JSON value.
func distribute(ctx context.Context, env *runner.Environment, value string) error {
	env.Note("set trafficDistribution of Service %s to %s", env.Server, value)
	patch := fmt.Appendf(nil, `{"spec":{"trafficDistribution":%s}}`, value)
	_, err := env.Kube.Typed.CoreV1().Services(env.Namespace).Patch(ctx, env.Server, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: runner.FieldManager})
	if err != nil {
		return fmt.Errorf("setting trafficDistribution of Service %s to %s: %w", env.Server, value, err)
	}
	return nil
}

// openInZones opens connections from a client in each zone.
func openInZones(ctx context.Context, env *runner.Environment, when string, nodes map[string]string) (all []runner.ClientResult, err error) {
	to, err := runner.Target(env.Clients.Spec.Template)
	if err != nil {
		return nil, err
	}
	for _, zone := range observe.Keys(nodes) {
		ran, err := env.RunClient(ctx, runner.ClientJob{
			Name: fmt.Sprintf("%s-%s-%s", Zones, when, zone), Node: nodes[zone], Limit: runner.ProbeTimeout,
			Args: []string{to, fmt.Sprintf("--fresh-connections=%d", zoneFresh)},
		})
		if err != nil {
			return nil, err
		}
		all = append(all, ran)
	}
	return all, nil
}

// watchZones looks where calls go after the change, with old connections and with new
// ones, and then when one zone alone has a server.
func watchZones(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	var z *Zoned
	env.Record.Look(func(f *observe.Facts) { z = observe.EvidenceOf[*Zoned](f, Zones) })
	if err := poll.Sleep(ctx, zoneWatch); err != nil {
		return err
	}
	z.Restarting = time.Now()
	if connectsOnce(env) {
		if err := env.RestartClients(ctx); err != nil {
			return err
		}
	}
	var nodes map[string]string
	env.Record.Look(func(f *observe.Facts) {
		z.Restarted, z.Clients = time.Now(), f.Running()
		nodes = z.nodes(f, z.Clients)
	})
	if err := poll.Sleep(ctx, zoneWatch/2); err != nil {
		return err
	}
	var err error
	if connectsOnce(env) {
		if z.After, err = openInZones(ctx, env, "after", nodes); err != nil {
			return err
		}
	}
	z.Alone = time.Now()
	if err := scaleAndDrain(ctx, env, p, 1); err != nil {
		return err
	}
	z.Emptied = time.Now()
	return poll.Sleep(ctx, zoneWatch)
}

// connectionsPrefer wants new connections to stay in their zone, and clients to stay where
// they are until they have one.
func connectionsPrefer(f *observe.Facts, p *observe.Phase, _ exactly) runner.Verdict {
	z := observe.EvidenceOf[*Zoned](f, Zones)
	if z == nil {
		return runner.NotRun("nobody looked at the zones")
	}
	crossedBefore, before := z.fresh(f, z.Before)
	crossedAfter, after := z.fresh(f, z.After)
	crossed, calls := z.during(f, z.Clients, z.Restarted, z.Alone)
	if before == 0 || after == 0 || calls == 0 {
		return runner.NotRun("%d new connections before the change, %d after it, and %d calls of the restarted clients were answered", before, after, calls)
	}
	moved := 0
	for _, name := range p.Clients {
		c := f.Clients[name]
		was, is := observe.Calls(c.LastBefore(z.Changed)), observe.Calls(c.Between(z.Changed, z.Restarting))
		if len(runner.Without(is.Servers(), was.Servers())) > 0 {
			moved++
		}
	}
	crossedPinned, pinned := z.during(f, p.Clients, z.Changed, z.Restarting)
	return runner.Decided(crossedBefore > 0 && crossedAfter == 0 && crossed == 0 && moved == 0,
		"%d of %d new connections crossed zones before, %d of %d after; %d of %d clients moved before their restart, with %d of %d calls across zones, and %d of %d after it",
		crossedBefore, before, crossedAfter, after, moved, len(p.Clients), crossedPinned, pinned, crossed, calls).With("%d of %d crossed, before %d of %d", crossedAfter, after, crossedBefore, before)
}

// resolverPrefers wants the clients of a resolver that reads hints to leave the other zones
// soon, over connections that they have.
func resolverPrefers(f *observe.Facts, p *observe.Phase, limit within) runner.Verdict {
	z := observe.EvidenceOf[*Zoned](f, Zones)
	if z == nil {
		return runner.NotRun("nobody looked at the zones")
	}
	crossedBefore, before := z.during(f, p.Clients, p.Begin, z.Changed)
	crossed, calls := z.during(f, p.Clients, z.Changed.Add(limit.In(f.DNS)), z.Alone)
	if before == 0 || calls == 0 {
		return runner.NotRun("%d calls were answered before the change and %d after it", before, calls)
	}
	var last time.Duration
	for _, name := range p.Clients {
		for _, w := range f.Clients[name].Between(z.Changed, z.Alone) {
			if c, _ := z.crossing(f, name, w.Servers); c > 0 {
				last = max(last, w.End.Sub(z.Changed))
			}
		}
	}
	return runner.Decided(crossedBefore > 0 && crossed == 0, "%d of %d calls crossed zones before, %d of %d from %s after the change on, and none from %s on",
		crossedBefore, before, crossed, calls, runner.Seconds(limit.In(f.DNS)), runner.Seconds(last.Round(10*time.Millisecond))).With("%d of %d crossed, before %d of %d", crossed, calls, crossedBefore, before)
}

// emptyZoneIsServed says what becomes of clients whose zone has no server.
func emptyZoneIsServed(f *observe.Facts, p *observe.Phase) report.Finding {
	found := report.Finding{Text: "the other zones serve a zone without a server"}
	z := observe.EvidenceOf[*Zoned](f, Zones)
	if z == nil || z.Emptied.IsZero() {
		found.Measured = "not watched"
		return found
	}
	var crossed, failed int64
	for _, name := range z.Clients {
		windows := f.Clients[name].Between(z.Emptied, p.End)
		n, all := z.crossing(f, name, observe.Calls(windows))
		if n == all { // none of its zone answered
			crossed, failed = crossed+n, failed+observe.Failures(windows)
		}
	}
	found.Holds = crossed > 0 && failed == 0
	found.Measured = fmt.Sprintf("%d calls crossed zones, %d failed", crossed, failed)
	return found
}
