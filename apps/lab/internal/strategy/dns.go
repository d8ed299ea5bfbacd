package strategy

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Names of experiments, by which claims find their phases.
const (
	StartOrder = "start-order"
)

const (
	lookupInterval = 500 * time.Millisecond
	lookupMargin   = 20 * time.Second // for a machine that is late with the look-up itself
)

var _ = add(runner.Strategy{
	Name: "dns", Order: 30,
	Recognises:  func(v balance.View) bool { return v.Dials(v.Server) && v.UsesAll && v.MaxConnectionAge == "" },
	Balancer:    "client, round_robin over A records",
	EveryServer: true,
	ByName:      true,
	Claims: []runner.Claim{
		{
			ID:        4,
			Text:      "the headless name has one A record for each ready pod",
			Criterion: of(ScaleOut, within{Delay: Delay{TTL: true, Cache: true}, Of: "(TTL and cache)"}, recordsFollow),
		},
		roundRobinIsEven,
		{
			ID:        6,
			Text:      "connected clients miss a scale-out",
			Criterion: ofAdded(exactly("no new pod is called"), missed),
		},
		{
			ID:        7,
			Text:      "after an original server left they re-resolve and see the new pods",
			Criterion: of(ServerLeaves, within{Delay: relearning}, relearned),
		},
	},
	Experiments: []runner.Experiment{
		{
			Name: StartOrder, Purpose: runner.Prove,
			Steady:  serversReady,
			Change:  "scale the servers to 1, restart the clients, scale the servers back",
			Act:     startBeforeServers,
			Observe: watchAdded,
			Assert: func(f *observe.Facts, p *observe.Phase) []report.Finding {
				return []report.Finding{stayedOnFirst(f, p)}
			},
			Undo: func(ctx context.Context, env *runner.Environment) error {
				if err := asBefore(ctx, env); err != nil {
					return err
				}
				return env.FreshClients(ctx)
			},
		},
	},
})

// startBeforeServers gives the clients a observe.DNS that knows one server.
func startBeforeServers(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	if err := env.Scale(ctx, env.Server, 1); err != nil {
		return err
	}
	if err := env.ServersReady(ctx, 1); err != nil {
		return err
	}
	if err := env.FreshClients(ctx); err != nil {
		return err
	}
	env.Record.Update(func(f *observe.Facts) { p.Clients, p.Servers = f.Running(), f.ReadyNow() })
	return asBefore(ctx, env)
}

// stayedOnFirst says whether the clients kept to the servers that were ready
// when they started.
func stayedOnFirst(f *observe.Facts, p *observe.Phase) report.Finding {
	var called []string
	for _, c := range f.FirstCalls(p) {
		if c.Called && !slices.Contains(called, c.Server) {
			called = append(called, c.Server)
		}
	}
	return report.Finding{
		Text:     "clients that start while one server is ready stay on it",
		Holds:    len(called) == 0 && len(p.Added) > 0 && len(p.Clients) > 0,
		Measured: fmt.Sprintf("%d clients called %d of %d servers that became ready later, in %s", len(p.Clients), len(called), len(p.Added), runner.Seconds(f.Watched(p))),
	}
}

// Lookups are the resolutions of the servers' name, in order.
type Lookups struct{ All []Lookup }

// Lookup is one answer of the cluster's DNS.
type Lookup struct {
	At        time.Time
	Addresses []string // sorted, without ports
	// Ready are the addresses of the ready pods at that time, sorted, and Since
	// is when they last changed.
	Ready []string
	Since time.Time
}

// lookUp resolves the servers' name until it gives the ready pods, or until it
// should have for long enough.
func lookUp(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	if !env.Strategy.ByName {
		return nil
	}
	to, err := runner.Target(env.Clients.Spec.Template)
	if err != nil {
		return err
	}
	seen := &Lookups{}
	env.Record.Update(func(*observe.Facts) { p.Evidence = seen })
	for deadline := time.Now().Add(env.DNS.MaxStaleness() + lookupMargin); ; {
		lines, err := resolve(ctx, env, to)
		if ctx.Err() != nil {
			return err
		}
		if err != nil { // nothing was learnt of the records
			env.Note("%v", err)
			if time.Now().After(deadline) {
				return err
			}
			if err := poll.Sleep(ctx, lookupInterval); err != nil {
				return err
			}
			continue
		}
		var last Lookup
		env.Record.Update(func(f *observe.Facts) {
			last = lookup(f, lines, time.Now())
			seen.All = append(seen.All, last)
		})
		env.Note("the name has %d addresses, %d pods are ready", len(last.Addresses), len(last.Ready))
		if slices.Equal(last.Addresses, last.Ready) || last.At.Sub(last.Since) >= env.DNS.MaxStaleness() {
			return nil
		}
		if err := poll.Sleep(ctx, lookupInterval); err != nil {
			return err
		}
	}
}

// resolve lets a client that runs look the servers up once more: a pod of its
// own would take longer to start than records take to follow.
func resolve(ctx context.Context, env *runner.Environment, to string) ([]calllog.Line, error) {
	client := ""
	env.Record.Look(func(f *observe.Facts) {
		if all := f.Running(); len(all) > 0 {
			client = all[0]
		}
	})
	if client == "" {
		return nil, fmt.Errorf("no client runs that could look the servers up")
	}
	limited, cancel := context.WithTimeout(ctx, runner.ProbeTimeout)
	defer cancel()
	out, err := env.Kube.Exec(limited, env.Namespace, client, env.Client, observe.ClientPath, "resolve", to, "--timeout=5s", "--output=json")
	if err != nil {
		return nil, err
	}
	var lines []calllog.Line
	for line, err := range calllog.Read(bytes.NewReader(out)) {
		if err != nil {
			return nil, fmt.Errorf("what %s resolved: %w", client, err)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// lookup reads the answer of `echo-client resolve` against the endpoints of its
// moment, which is now where there was no answer.
func lookup(f *observe.Facts, lines []calllog.Line, now time.Time) Lookup {
	l := Lookup{At: now}
	for _, line := range lines {
		if r, ok := line.(*calllog.Resolved); ok {
			l.At = r.Time
			for _, address := range r.Addresses {
				if host, _, err := net.SplitHostPort(address); err == nil {
					address = host
				}
				l.Addresses = append(l.Addresses, address)
			}
		}
	}
	slices.Sort(l.Addresses)
	for _, e := range f.Endpoints {
		if e.At.After(l.At) {
			break
		}
		if ready := slices.Sorted(maps.Values(e.Ready)); !slices.Equal(ready, l.Ready) || l.Since.IsZero() {
			l.Ready, l.Since = ready, e.At
		}
	}
	return l
}

// recordsFollow needs one look-up that equals the ready pods in time. One that
// came later decides against: the records cannot have followed before it.
func recordsFollow(f *observe.Facts, out *observe.Phase, in within) runner.Verdict {
	limit := in.In(f.DNS)
	var lookups []Lookup
	if seen := observe.EvidenceOf[*Lookups](f, ScaleOut); seen != nil {
		lookups = seen.All
	}
	for _, l := range lookups {
		after := l.At.Sub(l.Since)
		if l.At.Before(out.Change) || len(l.Ready) != len(out.Servers)+len(out.Added) {
			continue
		}
		if slices.Equal(l.Addresses, l.Ready) {
			return runner.Decided(after <= limit, "%d records for %d ready pods %s after the last became ready", len(l.Addresses), len(l.Ready), runner.Seconds(after.Round(10*time.Millisecond))).With("%s", runner.Seconds(after.Round(10*time.Millisecond)))
		}
		if after >= limit {
			return runner.Decided(false, "%d records for %d ready pods %s after the last became ready", len(l.Addresses), len(l.Ready), runner.Seconds(after.Round(10*time.Millisecond))).With("%s", runner.Seconds(after.Round(10*time.Millisecond)))
		}
	}
	return runner.NotRun("%d look-ups, none of them after every new pod was ready and none at the limit", len(lookups))
}

// missed wants that no client called a pod that a scale-out added.
func missed(f *observe.Facts, out *observe.Phase, first []observe.Pair, _ exactly) runner.Verdict {
	called := 0
	for _, p := range first {
		if p.Called {
			called++
		}
	}
	return runner.Decided(called == 0, "%d clients called %d of %d new pods in %s after the last was ready", len(out.Clients), called, len(out.Added), runner.Seconds(f.Watched(out))).
		With("%d new pods called", called)
}

// relearned wants every client that was connected before the scale-out to call
// every pod that it had missed.
func relearned(f *observe.Facts, left *observe.Phase, in within) runner.Verdict {
	out, why := f.Phase(ScaleOut)
	if out == nil {
		return runner.NotRunFor(why)
	}
	if len(out.Added) == 0 || len(left.Clients) == 0 {
		return runner.NotRun("%d servers were added beside %d clients", len(out.Added), len(left.Clients))
	}
	if !slices.Contains(out.Servers, left.Left) {
		return runner.NotRun("no original server left, but %q", left.Left)
	}
	limit, slowest := in.In(f.DNS), time.Duration(0)
	for _, client := range left.Clients {
		for _, server := range out.Added {
			at, called := f.Clients[client].First[server]
			switch {
			case !called:
				return runner.Decided(false, "%s did not call %s in %s", client, server, runner.Seconds(left.End.Sub(left.Change).Round(time.Second)))
			case at.Before(left.Change):
				return runner.NotRun("%s had called %s before the server left", client, server)
			}
			slowest = max(slowest, at.Sub(left.Change))
		}
	}
	return runner.Decided(slowest <= limit, "%d clients called all %d new pods %s after the server was deleted", len(left.Clients), len(out.Added), runner.Seconds(slowest.Round(10*time.Millisecond))).
		With("%s", runner.Seconds(slowest.Round(10*time.Millisecond)))
}
