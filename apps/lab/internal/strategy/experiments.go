package strategy

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
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

// Experiments lists what is done to every strategy, in this order.
var Experiments = []runner.Experiment{
	{
		Name: WarmUp, Strategies: []string{"linkerd"},
		Rights:  always(nodesListed),
		Steady:  "all servers are ready",
		Change:  "none: the proxies get their first calls",
		Hold:    func(ctx context.Context, a *runner.Environment) error { return a.ServersReady(ctx, a.Replicas()) },
		Observe: warmUp,
		Assert:  func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{warmed(f, p)} },
	},
	{
		Name: StartOrder, Strategies: []string{"dns"}, Purpose: runner.Prove,
		Steady:  "all servers are ready",
		Change:  "scale the servers to 1, restart the clients, scale the servers back",
		Hold:    func(ctx context.Context, a *runner.Environment) error { return a.ServersReady(ctx, a.Replicas()) },
		Act:     startBeforeServers,
		Observe: watchAdded,
		Assert: func(f *observe.Facts, p *observe.Phase) []report.Finding {
			return []report.Finding{stayedOnFirst(f, p)}
		},
		Undo: func(ctx context.Context, a *runner.Environment) error {
			if err := a.Scale(ctx, a.Server, a.Replicas()); err != nil {
				return err
			}
			if err := a.ServersReady(ctx, a.Replicas()); err != nil {
				return err
			}
			return a.FreshClients(ctx)
		},
	},
	{
		Name: FreshConnections, Strategies: []string{"l4"}, Purpose: runner.Prove,
		Steady:  "all servers are ready, the clients' last two windows are free of failures",
		Change:  fmt.Sprintf("a Job makes %d calls, each on a connection of its own", freshConnections),
		Hold:    func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, a.Replicas(), false) },
		Observe: openConnections,
	},
	{
		Name: ThroughNodes, Strategies: []string{"linkerd"}, Purpose: runner.Prove, Edits: true,
		Rights:  always(nodesListed, runner.Access{Resources: []string{"pods/proxy"}, Verbs: []string{"get"}}),
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  fmt.Sprintf("the clients stop; Jobs make %d calls to each node's port, and %d calls on each node as its clients do", reachCalls, nodeCalls),
		Hold:    func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, a.Replicas(), true) },
		Act:     silence,
		Observe: callThroughNodes,
		Undo:    unsilence,
	},
	{
		Name: Processes, Strategies: []string{"xds"}, Purpose: runner.Prove,
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  "none: the processes of the pods are listed",
		Hold:    func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, a.Replicas(), true) },
		Observe: listProcesses,
	},
	{
		Name: ThroughSidecar, Strategies: []string{"istio"}, Purpose: runner.Prove,
		Rights:  always(executing),
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  fmt.Sprintf("Jobs make %d calls each: one for each client with a sidecar, and one without", sidecarCalls),
		Hold:    func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, a.Replicas(), true) },
		Observe: callThroughSidecars,
		Assert:  func(f *observe.Facts, _ *observe.Phase) []report.Finding { return []report.Finding{encrypted(f)} },
	},
	{
		Name:    Steady,
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server that they should",
		Change:  "none",
		Hold:    func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, a.Replicas(), true) },
		Observe: watchSteady,
		Assert:  func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
		AtRest:  true,
	},
	{
		Name: Turns, Purpose: runner.Compare,
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server that they should",
		Change:  fmt.Sprintf("all clients pause; %d times each strategy in turn is called alone, with %d calls a second from each client, for %s", turnRounds, turnRate, runner.Seconds(turnTime)),
		Hold:    func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, a.Replicas(), true) },
		Observe: takeTurns,
		AtRest:  true,
	},
	{
		Name: ScaleOut,
		Rights: func(s runner.Strategy) []runner.Access {
			if s.ByName {
				return []runner.Access{executing} // a client looks the servers up
			}
			return nil
		},
		Steady: "all servers are ready, the clients' last two windows are free of failures",
		Change: "scale the servers to twice as many",
		Hold:   func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, a.Replicas(), false) },
		Act: func(ctx context.Context, a *runner.Environment, _ *observe.Phase) error {
			if err := a.Scale(ctx, a.Server, 2*a.Replicas()); err != nil {
				return err
			}
			return a.ServersReady(ctx, 2*a.Replicas())
		},
		StartsPods: true,
		Observe: func(ctx context.Context, a *runner.Environment, p *observe.Phase) error {
			if err := alongside(ctx, func(ctx context.Context) error { return watchAdded(ctx, a, p) },
				func(ctx context.Context) error { return lookUp(ctx, a) }); err != nil || a.ConnectionAge == 0 {
				return err
			}
			if err := watchAged(ctx, a, p); err != nil && ctx.Err() != nil {
				return err // that they never saw them is a result
			}
			return nil
		},
		Assert: func(f *observe.Facts, p *observe.Phase) []report.Finding {
			found := []report.Finding{addedAreCalled(f, p), noFailures(f, p)}
			if f.ConnectionAge > 0 {
				found = append(found, reconnects(f, p))
			}
			return found
		},
		Undo: func(ctx context.Context, a *runner.Environment) error {
			if err := a.Scale(ctx, a.Server, a.Replicas()); err != nil {
				return err
			}
			return a.ServersReady(ctx, a.Replicas())
		},
		Inner: []runner.Experiment{{
			Name:    ServerLeaves,
			Steady:  "twice as many servers are ready, the clients' last two windows are free of failures",
			Change:  "delete the original server with the most calls",
			Hold:    func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, 2*a.Replicas(), false) },
			Act:     deleteBusiest,
			Observe: watchLeaving,
			Assert: func(f *observe.Facts, p *observe.Phase) []report.Finding {
				return []report.Finding{noFailures(f, p), replacementIsCalled(f, p)}
			},
			Undo: func(ctx context.Context, a *runner.Environment) error { return a.ServersReady(ctx, 2*a.Replicas()) },
		}},
	},
	{
		Name: ControlPlaneAway, Strategies: []string{"istio"}, Purpose: runner.Prove, Alone: true,
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  "scale istiod to 0 and kill it",
		Hold:    func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, a.Replicas(), true) },
		Act:     killControlPlane,
		Observe: watchControlPlaneAway,
		Assert:  func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
		Undo:    restoreControlPlane,
	},
	{
		Name: LateStart, Strategies: []string{"xds"}, Purpose: runner.Prove, Alone: true,
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  fmt.Sprintf("scale istiod to 0 and kill it, delete a client, scale istiod back after %s", runner.Seconds(lateStart)),
		Hold:    func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, a.Replicas(), true) },
		Act:     startWithoutControlPlane,
		Observe: watchLateStart,
		Assert: func(f *observe.Facts, p *observe.Phase) []report.Finding {
			return []report.Finding{startedLate(f, p), noFailures(f, p)}
		},
		Undo: restoreLate,
	},
	{
		Name: ProxyDrains, Strategies: []string{"envoy"}, Purpose: runner.Prove,
		Rights:  always(runner.Access{Resources: []string{"pods/eviction"}, Verbs: []string{"create"}}),
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  "evict one proxy and, when it is replaced, the next",
		Hold:    func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, a.Replicas(), true) },
		Observe: drainProxies,
		Assert:  func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
	},
	{
		Name: BrokenConfiguration, Strategies: []string{"envoy"}, Purpose: runner.Prove, Edits: true,
		Rights: always(
			runner.Access{Resources: []string{"configmaps"}, Verbs: []string{"create", "delete", "get"}},
			runner.Access{Group: "apps", Resources: []string{"deployments"}, Verbs: []string{"get"}},
		),
		Steady:  "all servers are ready, the clients' last two windows are free of failures and name every server",
		Change:  "point the proxies at a configuration that they refuse",
		Hold:    func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, a.Replicas(), true) },
		Observe: breakProxies,
		Assert:  func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
		Undo:    mendProxies,
	},
	{
		Name: RollingRestart, Purpose: runner.Compare,
		Steady:     "all servers are ready, the clients' last two windows are free of failures",
		Change:     "restart the servers' Deployment",
		Hold:       func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, a.Replicas(), false) },
		Act:        restartRolling,
		StartsPods: true,
		Observe: func(ctx context.Context, _ *runner.Environment, _ *observe.Phase) error {
			return runner.Pause(ctx, afterwards)
		},
		Assert: func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
	},
	{
		Name: Kill, Purpose: runner.Compare,
		Steady:  "all servers are ready, the clients' last two windows are free of failures",
		Change:  "kill -9 the server with the most calls",
		Hold:    func(ctx context.Context, a *runner.Environment) error { return a.Steady(ctx, a.Replicas(), false) },
		Act:     killBusiest,
		Observe: watchKill,
		Assert:  func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
	},
}

// watchSteady looks on, and makes sure that nothing changed meanwhile.
func watchSteady(ctx context.Context, a *runner.Environment, p *observe.Phase) (err error) {
	if err := runner.Pause(ctx, steadyTime); err != nil {
		return err
	}
	a.Record.Look(func(f *observe.Facts) {
		if since := f.EndpointsSince(); since.After(p.Begin) || !slices.Equal(f.Running(), p.Clients) {
			err = fmt.Errorf("pods changed while it was measured: servers %v became %v, clients %v became %v", p.Servers, f.ReadyNow(), p.Clients, f.Running())
		}
	})
	return err
}

// startBeforeServers gives the clients a DNS that knows one server.
func startBeforeServers(ctx context.Context, a *runner.Environment, p *observe.Phase) error {
	if err := a.Scale(ctx, a.Server, 1); err != nil {
		return err
	}
	if err := a.ServersReady(ctx, 1); err != nil {
		return err
	}
	if err := a.FreshClients(ctx); err != nil {
		return err
	}
	a.Record.Update(func(f *observe.Facts) { p.Clients, p.Servers = f.Running(), f.ReadyNow() })
	if err := a.Scale(ctx, a.Server, a.Replicas()); err != nil {
		return err
	}
	return a.ServersReady(ctx, a.Replicas())
}

// watchAdded looks at new servers for longer than DNS can trail.
func watchAdded(ctx context.Context, a *runner.Environment, p *observe.Phase) error {
	a.Record.Update(func(f *observe.Facts) { p.Added = runner.Without(f.ReadyNow(), p.Servers) })
	return runner.Pause(ctx, max(watchTime, a.DNS.MaxStaleness()+2*time.Second))
}

// lookUp resolves the servers' name until it gives the ready pods, or until it
// should have for long enough.
func lookUp(ctx context.Context, a *runner.Environment) error {
	if !a.Strategy.ByName {
		return nil
	}
	to, err := runner.Target(a.Clients.Spec.Template)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(a.DNS.MaxStaleness() + lookupMargin); ; {
		lines, err := resolveServers(ctx, a, to)
		if ctx.Err() != nil {
			return err
		}
		if err != nil { // nothing was learnt of the records
			a.Note("%v", err)
			if time.Now().After(deadline) {
				return err
			}
			if err := runner.Pause(ctx, lookupInterval); err != nil {
				return err
			}
			continue
		}
		var last observe.Lookup
		a.Record.Update(func(f *observe.Facts) {
			last = lookup(f, lines, time.Now())
			f.Lookups = append(f.Lookups, last)
		})
		a.Note("the name has %d addresses, %d pods are ready", len(last.Addresses), len(last.Ready))
		if slices.Equal(last.Addresses, last.Ready) || last.At.Sub(last.Since) >= a.DNS.MaxStaleness() {
			return nil
		}
		if err := runner.Pause(ctx, lookupInterval); err != nil {
			return err
		}
	}
}

// resolve lets a client that runs look the servers up once more: a pod of its
// own would take longer to start than records take to follow.
func resolveServers(ctx context.Context, a *runner.Environment, to string) ([]calllog.Line, error) {
	client := ""
	a.Record.Look(func(f *observe.Facts) {
		if all := f.Running(); len(all) > 0 {
			client = all[0]
		}
	})
	if client == "" {
		return nil, fmt.Errorf("no client runs that could look the servers up")
	}
	limited, cancel := context.WithTimeout(ctx, runner.ProbeTimeout)
	defer cancel()
	out, err := a.Kube.Exec(limited, a.Namespace, client, a.Client, observe.ClientPath, "resolve", to, "--timeout=5s", "--output=json")
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
func openConnections(ctx context.Context, a *runner.Environment, p *observe.Phase) error {
	to, err := runner.Target(a.Clients.Spec.Template)
	if err != nil {
		return err
	}
	ran, err := a.RunClient(ctx, runner.ClientJob{
		Name: FreshConnections, Limit: runner.ProbeTimeout,
		Args: []string{to, fmt.Sprintf("--fresh-connections=%d", freshConnections)},
	})
	if err != nil {
		return err
	}
	a.Record.Update(func(f *observe.Facts) {
		f.Fresh = &observe.Fresh{Wanted: freshConnections, Summary: ran.Summary, Servers: p.Servers}
	})
	return nil
}

// deleteBusiest deletes the server, of those before the scale-out, that answers
// most: in l4 another may have no client at all.
func deleteBusiest(ctx context.Context, a *runner.Environment, p *observe.Phase) error {
	a.Record.Update(func(f *observe.Facts) {
		original := p.Servers
		if out := f.Phases[ScaleOut]; out != nil {
			original = out.Servers
		}
		p.Left = busiest(f, p, original)
	})
	if p.Left == "" {
		return fmt.Errorf("no original server is ready")
	}
	return a.DeletePod(ctx, p.Left)
}

// watchLeaving waits until the server is gone and replaced, and where clients
// learn of the others only then, until they have.
func watchLeaving(ctx context.Context, a *runner.Environment, p *observe.Phase) error {
	if err := a.Await(ctx, runner.ShutdownTimeout, "the end of "+p.Left, func(f *observe.Facts) string {
		if s := f.Servers[p.Left]; s != nil && !s.Ended {
			return "it still runs"
		}
		return ""
	}); err != nil {
		return err
	}
	if err := a.ServersReady(ctx, 2*a.Replicas()); err != nil {
		return err
	}
	a.Record.Update(func(f *observe.Facts) { p.Added = runner.Without(f.ReadyNow(), p.Servers) })
	if a.Strategy.ByName {
		limit := time.Until(p.Change.Add(relearnLimit(a.DNS)))
		if err := a.Await(ctx, limit, "the clients to see the new pods", func(f *observe.Facts) string {
			return unseen(f, p)
		}); err != nil && ctx.Err() != nil {
			return err // that they never saw them is a result
		}
	}
	return runner.Pause(ctx, afterwards)
}
