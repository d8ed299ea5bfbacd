package experiment

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// Names of experiments, by which claims find their phases.
const (
	StartOrder       = "start-order"
	Steady           = "steady"
	FreshConnections = "fresh-connections"
	ScaleOut         = "scale-out"
	ServerLeaves     = "server-leaves"
	ThroughSidecar   = "through-sidecar"
	ControlPlaneAway = "control-plane-away"

	WarmUp              = "warm-up"
	ThroughNodes        = "through-nodes"
	ProxyDrains         = "proxy-drains"
	BrokenConfiguration = "broken-configuration"
	Processes           = "processes"
	LateStart           = "start-without-control-plane"
	Turns               = "in-turns"
	RollingRestart      = "rolling-restart"
	Kill                = "kill"
)

// How long and how much is observed.
const (
	steadyTime = 10 * time.Second
	// watchTime is the least that is waited for calls of new pods.
	watchTime        = 10 * time.Second
	afterwards       = 3 * time.Second // what may still fail once a server is gone
	lookupInterval   = 500 * time.Millisecond
	lookupMargin     = 20 * time.Second // for a machine that is late with the look-up itself
	freshConnections = 300
)

// Experiment is one change made to a strategy in a steady state.
type Experiment struct {
	Name string
	// Strategies are those it is made with; nil means all.
	Strategies []string
	// Steady and Change are hold and change in words.
	Steady, Change string
	// hold brings about and checks the steady state.
	hold func(context.Context, *arena) error
	// change makes the change and observe waits for what follows from it.
	change, observe func(context.Context, *arena, *Phase) error
	// assert says what came out. It is pure and runs when all logs are read.
	assert func(*Facts, *Phase) []report.Finding
	// undo is called whatever happened.
	undo func(context.Context, *arena) error
	// meetings is how often all strategies that run side by side wait for each
	// other in it, so that none disturbs another; 0 where they need not.
	meetings int
	// startsPods says that the change starts many pods: few strategies do so at
	// the same time.
	startsPods bool
	// edits says that the change edits what the overlay says, which a deployer
	// would undo.
	edits bool
	// alone experiments take away what other strategies need too.
	alone bool
	// purpose limits the experiment to one kind of run.
	purpose Purpose
	// inner experiments are made while the change is in force.
	inner []Experiment
}

// Purpose is what a run is for.
type Purpose int

// The purposes; an experiment without one is made for all.
const (
	Any Purpose = iota
	// Prove judges the claims.
	Prove
	// Compare measures what the strategies cost.
	Compare
)

// Experiments lists what is done to every strategy, in this order.
var Experiments = []Experiment{
	{
		Name: WarmUp, Strategies: []string{"linkerd"},
		Steady:  "all servers are ready",
		Change:  "none: the proxies get their first calls",
		hold:    func(ctx context.Context, a *arena) error { return a.serversReady(ctx, a.replicas()) },
		observe: warmUp,
		assert:  func(f *Facts, p *Phase) []report.Finding { return []report.Finding{warmed(f, p)} },
	},
	{
		Name: StartOrder, Strategies: []string{"dns"}, purpose: Prove,
		Steady:  "all servers are ready",
		Change:  "scale the servers to 1, restart the clients, scale the servers back",
		hold:    func(ctx context.Context, a *arena) error { return a.serversReady(ctx, a.replicas()) },
		change:  startBeforeServers,
		observe: watchAdded,
		assert:  func(f *Facts, p *Phase) []report.Finding { return []report.Finding{stayedOnFirst(f, p)} },
		undo: func(ctx context.Context, a *arena) error {
			if err := a.scale(ctx, a.facts.Server, a.replicas()); err != nil {
				return err
			}
			if err := a.serversReady(ctx, a.replicas()); err != nil {
				return err
			}
			return a.freshClients(ctx)
		},
	},
	{
		Name: FreshConnections, Strategies: []string{"l4"}, purpose: Prove,
		Steady:  "all servers are ready, the clients' last two windows are free of failures",
		Change:  fmt.Sprintf("a Job makes %d calls, each on a connection of its own", freshConnections),
		hold:    func(ctx context.Context, a *arena) error { return a.steady(ctx, a.replicas(), false) },
		observe: openConnections,
	},
	{
		Name: ThroughNodes, Strategies: []string{"linkerd"}, purpose: Prove, edits: true,
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  fmt.Sprintf("the clients stop; Jobs make %d calls to each node's port, and %d calls on each node as its clients do", reachCalls, nodeCalls),
		hold:    func(ctx context.Context, a *arena) error { return a.steady(ctx, a.replicas(), true) },
		change:  silence,
		observe: callThroughNodes,
		undo:    unsilence,
	},
	{
		Name: Processes, Strategies: []string{"xds"}, purpose: Prove,
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  "none: the processes of the pods are listed",
		hold:    func(ctx context.Context, a *arena) error { return a.steady(ctx, a.replicas(), true) },
		observe: listProcesses,
	},
	{
		Name: ThroughSidecar, Strategies: []string{"istio"}, purpose: Prove,
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  fmt.Sprintf("Jobs make %d calls each: one for each client with a sidecar, and one without", sidecarCalls),
		hold:    func(ctx context.Context, a *arena) error { return a.steady(ctx, a.replicas(), true) },
		observe: callThroughSidecars,
		assert:  func(f *Facts, _ *Phase) []report.Finding { return []report.Finding{encrypted(f)} },
	},
	{
		Name:     Steady,
		Steady:   "all servers are ready, the clients' last two windows are free of failures and name every server that they should",
		Change:   "none",
		hold:     func(ctx context.Context, a *arena) error { return a.steady(ctx, a.replicas(), true) },
		observe:  watchSteady,
		assert:   func(f *Facts, p *Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
		meetings: 2,
	},
	{
		Name: Turns, purpose: Compare,
		Steady:   "all servers are ready, the clients' last two windows are free of failures and name every server that they should",
		Change:   fmt.Sprintf("all clients pause; %d times each strategy in turn is called alone, with %d calls a second from each client, for %s", turnRounds, turnRate, seconds(turnTime)),
		hold:     func(ctx context.Context, a *arena) error { return a.steady(ctx, a.replicas(), true) },
		observe:  takeTurns,
		meetings: turnRounds + 3,
	},
	{
		Name:   ScaleOut,
		Steady: "all servers are ready, the clients' last two windows are free of failures",
		Change: "scale the servers to twice as many",
		hold:   func(ctx context.Context, a *arena) error { return a.steady(ctx, a.replicas(), false) },
		change: func(ctx context.Context, a *arena, _ *Phase) error {
			if err := a.scale(ctx, a.facts.Server, 2*a.replicas()); err != nil {
				return err
			}
			return a.serversReady(ctx, 2*a.replicas())
		},
		startsPods: true,
		observe: func(ctx context.Context, a *arena, p *Phase) error {
			if err := alongside(ctx, func(ctx context.Context) error { return watchAdded(ctx, a, p) },
				func(ctx context.Context) error { return lookUp(ctx, a) }); err != nil || a.facts.ConnectionAge == 0 {
				return err
			}
			if err := watchAged(ctx, a, p); err != nil && ctx.Err() != nil {
				return err // that they never saw them is a result
			}
			return nil
		},
		assert: func(f *Facts, p *Phase) []report.Finding {
			found := []report.Finding{addedAreCalled(f, p), noFailures(f, p)}
			if f.ConnectionAge > 0 {
				found = append(found, reconnects(f, p))
			}
			return found
		},
		undo: func(ctx context.Context, a *arena) error {
			if err := a.scale(ctx, a.facts.Server, a.replicas()); err != nil {
				return err
			}
			return a.serversReady(ctx, a.replicas())
		},
		inner: []Experiment{{
			Name:    ServerLeaves,
			Steady:  "twice as many servers are ready, the clients' last two windows are free of failures",
			Change:  "delete the original server with the most calls",
			hold:    func(ctx context.Context, a *arena) error { return a.steady(ctx, 2*a.replicas(), false) },
			change:  deleteBusiest,
			observe: watchLeaving,
			assert: func(f *Facts, p *Phase) []report.Finding {
				return []report.Finding{noFailures(f, p), replacementIsCalled(f, p)}
			},
			undo: func(ctx context.Context, a *arena) error { return a.serversReady(ctx, 2*a.replicas()) },
		}},
	},
	{
		Name: ControlPlaneAway, Strategies: []string{"istio"}, purpose: Prove, alone: true,
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  "scale istiod to 0 and kill it",
		hold:    func(ctx context.Context, a *arena) error { return a.steady(ctx, a.replicas(), true) },
		change:  killControlPlane,
		observe: watchControlPlaneAway,
		assert:  func(f *Facts, p *Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
		undo:    restoreControlPlane,
	},
	{
		Name: LateStart, Strategies: []string{"xds"}, purpose: Prove, alone: true,
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  fmt.Sprintf("scale istiod to 0 and kill it, delete a client, scale istiod back after %s", seconds(lateStart)),
		hold:    func(ctx context.Context, a *arena) error { return a.steady(ctx, a.replicas(), true) },
		change:  startWithoutControlPlane,
		observe: watchLateStart,
		assert: func(f *Facts, p *Phase) []report.Finding {
			return []report.Finding{startedLate(f, p), noFailures(f, p)}
		},
		undo: restoreLate,
	},
	{
		Name: ProxyDrains, Strategies: []string{"envoy"}, purpose: Prove,
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  "evict one proxy and, when it is replaced, the next",
		hold:    func(ctx context.Context, a *arena) error { return a.steady(ctx, a.replicas(), true) },
		observe: drainProxies,
		assert:  func(f *Facts, p *Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
	},
	{
		Name: BrokenConfiguration, Strategies: []string{"envoy"}, purpose: Prove, edits: true,
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  "point the proxies at a configuration that they refuse",
		hold:    func(ctx context.Context, a *arena) error { return a.steady(ctx, a.replicas(), true) },
		observe: breakProxies,
		assert:  func(f *Facts, p *Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
		undo:    mendProxies,
	},
	{
		Name: RollingRestart, purpose: Compare,
		Steady:     "all servers are ready, the clients' last two windows are free of failures",
		Change:     "restart the servers' Deployment",
		hold:       func(ctx context.Context, a *arena) error { return a.steady(ctx, a.replicas(), false) },
		change:     restartRolling,
		startsPods: true,
		observe:    func(ctx context.Context, _ *arena, _ *Phase) error { return pause(ctx, afterwards) },
		assert:     func(f *Facts, p *Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
	},
	{
		Name: Kill, purpose: Compare,
		Steady:  "all servers are ready, the clients' last two windows are free of failures",
		Change:  "kill -9 the server with the most calls",
		hold:    func(ctx context.Context, a *arena) error { return a.steady(ctx, a.replicas(), false) },
		change:  killBusiest,
		observe: watchKill,
		assert:  func(f *Facts, p *Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
	},
}

func (e Experiment) appliesTo(strategy string, purpose Purpose) bool {
	return (e.Strategies == nil || slices.Contains(e.Strategies, strategy)) && (e.purpose == Any || e.purpose == purpose)
}

// watchSteady looks on, and makes sure that nothing changed meanwhile.
func watchSteady(ctx context.Context, a *arena, p *Phase) (err error) {
	if err := pause(ctx, steadyTime); err != nil {
		return err
	}
	a.record.look(func(f *Facts) {
		if since := f.endpointsSince(); since.After(p.Begin) || !slices.Equal(f.running(), p.Clients) {
			err = fmt.Errorf("pods changed while it was measured: servers %v became %v, clients %v became %v", p.Servers, f.readyNow(), p.Clients, f.running())
		}
	})
	return err
}

// startBeforeServers gives the clients a DNS that knows one server.
func startBeforeServers(ctx context.Context, a *arena, p *Phase) error {
	if err := a.scale(ctx, a.facts.Server, 1); err != nil {
		return err
	}
	if err := a.serversReady(ctx, 1); err != nil {
		return err
	}
	if err := a.freshClients(ctx); err != nil {
		return err
	}
	a.record.update(func(f *Facts) { p.Clients, p.Servers = f.running(), f.readyNow() })
	if err := a.scale(ctx, a.facts.Server, a.replicas()); err != nil {
		return err
	}
	return a.serversReady(ctx, a.replicas())
}

// watchAdded looks at new servers for longer than DNS can trail.
func watchAdded(ctx context.Context, a *arena, p *Phase) error {
	a.record.update(func(f *Facts) { p.Added = without(f.readyNow(), p.Servers) })
	return pause(ctx, max(watchTime, a.facts.DNS.Trail()+2*time.Second))
}

// lookUp resolves the servers' name until it gives the ready pods, or until it
// should have for long enough.
func lookUp(ctx context.Context, a *arena) error {
	if !a.strategy.ByName {
		return nil
	}
	to, err := target(a.clients.Spec.Template)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(a.facts.DNS.Trail() + lookupMargin); ; {
		lines, err := a.resolve(ctx, to)
		if ctx.Err() != nil {
			return err
		}
		if err != nil { // nothing was learnt of the records
			a.note("%v", err)
			if time.Now().After(deadline) {
				return err
			}
			if err := pause(ctx, lookupInterval); err != nil {
				return err
			}
			continue
		}
		var last Lookup
		a.record.update(func(f *Facts) {
			last = lookup(f, lines, time.Now())
			f.Lookups = append(f.Lookups, last)
		})
		a.note("the name has %d addresses, %d pods are ready", len(last.Addresses), len(last.Ready))
		if slices.Equal(last.Addresses, last.Ready) || last.At.Sub(last.Since) >= a.facts.DNS.Trail() {
			return nil
		}
		if err := pause(ctx, lookupInterval); err != nil {
			return err
		}
	}
}

// resolve lets a client that runs look the servers up once more: a pod of its
// own would take longer to start than records take to follow.
func (a *arena) resolve(ctx context.Context, to string) ([]calllog.Line, error) {
	client := ""
	a.record.look(func(f *Facts) {
		if all := f.running(); len(all) > 0 {
			client = all[0]
		}
	})
	if client == "" {
		return nil, fmt.Errorf("no client runs that could look the servers up")
	}
	limited, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, err := a.kube.Exec(limited, a.facts.Namespace, client, a.facts.Client, clientPath, "resolve", to, "--timeout=5s", "--output=json")
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

// openConnections runs the clients that connect anew for each call.
func openConnections(ctx context.Context, a *arena, p *Phase) error {
	to, err := target(a.clients.Spec.Template)
	if err != nil {
		return err
	}
	lines, err := a.probe(ctx, FreshConnections, []string{to, fmt.Sprintf("--fresh-connections=%d", freshConnections)})
	if err != nil {
		return err
	}
	summary := summaryOf(lines)
	if summary == nil {
		return fmt.Errorf("job %s logged no summary in %d lines", FreshConnections, len(lines))
	}
	a.record.update(func(f *Facts) {
		f.Fresh = &Fresh{Wanted: freshConnections, Summary: *summary, Servers: p.Servers}
	})
	return nil
}

// deleteBusiest deletes the server, of those before the scale-out, that answers
// most: in l4 another may have no client at all.
func deleteBusiest(ctx context.Context, a *arena, p *Phase) error {
	a.record.update(func(f *Facts) {
		original := p.Servers
		if out := f.Phases[ScaleOut]; out != nil {
			original = out.Servers
		}
		p.Left = busiest(f, p, original)
	})
	if p.Left == "" {
		return fmt.Errorf("no original server is ready")
	}
	return a.deletePod(ctx, p.Left)
}

// watchLeaving waits until the server is gone and replaced, and where clients
// learn of the others only then, until they have.
func watchLeaving(ctx context.Context, a *arena, p *Phase) error {
	if err := a.await(ctx, shutdownTimeout, "the end of "+p.Left, func(f *Facts) string {
		if s := f.Servers[p.Left]; s != nil && !s.Ended {
			return "it still runs"
		}
		return ""
	}); err != nil {
		return err
	}
	if err := a.serversReady(ctx, 2*a.replicas()); err != nil {
		return err
	}
	a.record.update(func(f *Facts) { p.Added = without(f.readyNow(), p.Servers) })
	if a.strategy.ByName {
		limit := time.Until(p.Change.Add(relearnLimit(a.facts.DNS)))
		if err := a.await(ctx, limit, "the clients to see the new pods", func(f *Facts) string {
			return unseen(f, p)
		}); err != nil && ctx.Err() != nil {
			return err // that they never saw them is a result
		}
	}
	return pause(ctx, afterwards)
}
