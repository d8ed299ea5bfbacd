package strategy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// ServerLeaves is the name of the experiment.
const ServerLeaves = "server-leaves"

// afterwards is how long calls may still fail once a server is gone.
const afterwards = 3 * time.Second

var serverLeaves = runner.Experiment{
	Name:    ServerLeaves,
	Steady:  twiceAsMany,
	Change:  "delete the original server with the most calls",
	Act:     deleteBusiest,
	Observe: watchLeaving,
	Assert: func(f *observe.Facts, p *observe.Phase) []report.Finding {
		return []report.Finding{noFailures(f, p), replacementIsCalled(f, p)}
	},
	Undo: func(ctx context.Context, env *runner.Environment) error {
		return env.ServersReady(ctx, 2*env.Replicas())
	},
}

// deleteBusiest deletes the server, of those before the scale-out, that answers
// most: in l4 another may have no client at all.
func deleteBusiest(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	env.Record.Update(func(f *observe.Facts) {
		original := p.Servers
		if out := f.Phases[ScaleOut]; out != nil {
			original = out.Servers
		}
		p.Left = busiest(f, p, original)
	})
	if p.Left == "" {
		return fmt.Errorf("no original server is ready")
	}
	return env.DeletePod(ctx, p.Left)
}

// busiest returns the server that answered most in the clients' last windows, of
// those that are among the given ones and ready.
func busiest(f *observe.Facts, p *observe.Phase, among []string) string {
	counts := distribution.Counts{}
	for _, name := range p.Clients {
		windows := f.Clients[name].Windows
		counts = counts.Plus(observe.Calls(windows[max(0, len(windows)-3):]))
	}
	most := ""
	for _, server := range among {
		if slices.Contains(p.Servers, server) && (most == "" || counts[server] > counts[most]) {
			most = server
		}
	}
	return most
}

// watchLeaving waits until the server is gone and replaced, and where clients
// learn of the others only then, until they have.
func watchLeaving(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	if err := env.Await(ctx, runner.ShutdownTimeout, "the end of "+p.Left, func(f *observe.Facts) string {
		if s := f.Servers[p.Left]; s != nil && !s.Ended {
			return "it still runs"
		}
		return ""
	}); err != nil {
		return err
	}
	if err := env.ServersReady(ctx, 2*env.Replicas()); err != nil {
		return err
	}
	env.Record.Update(func(f *observe.Facts) { p.Added = runner.Without(f.ReadyNow(), p.Servers) })
	if env.Strategy.ByName {
		limit := time.Until(p.Change.Add(relearning.In(env.DNS)))
		if err := env.Await(ctx, limit, "the clients to see the new pods", func(f *observe.Facts) string {
			return unseen(f, p)
		}); err != nil && ctx.Err() != nil {
			return err // that they never saw them is a result
		}
	}
	return poll.Sleep(ctx, afterwards)
}

// unseen says which pods of the scale-out the clients have not called yet.
func unseen(f *observe.Facts, p *observe.Phase) string {
	missing := 0
	if out := f.Phases[ScaleOut]; out != nil {
		for _, client := range p.Clients {
			for _, server := range out.Added {
				if _, called := f.Clients[client].First[server]; !called {
					missing++
				}
			}
		}
	}
	if missing == 0 {
		return ""
	}
	return fmt.Sprintf("%d first calls are missing", missing)
}

func replacementIsCalled(f *observe.Facts, p *observe.Phase) report.Finding {
	text, all := pairsText(f.FirstCalls(p), f.Watched(p))
	return report.Finding{
		Text: "every client calls the pod that replaced " + p.Left, Holds: all && len(p.Added) > 0, Measured: text,
	}
}
