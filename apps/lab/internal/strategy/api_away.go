package strategy

import (
	"context"
	"fmt"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// APIAway is the name of the experiment.
const APIAway = "api-away"

const (
	patientRate    = 5 // calls a second
	patientTime    = 45 * time.Second
	patientTimeout = 60 * time.Second // of a call
)

// silentAPI is what the resolver's README promises to say of an API server that is silent.
const silentAPI = says("no answer from the API server within 900ms")

// caughtUp is how soon a client must see what it missed. Who was silent sends again after
// a pause that doubles: at the end of an outage it can last as long as the outage (RFC 6298).
var caughtUp = within{What: "every client calls every pod that was added meanwhile", Delay: Delay{Fixed: leastAway + 10*time.Second}, Of: "of the API server's return"}

var _ = makeOnRequest(Asked{
	Experiment: runner.Experiment{
		Name:       APIAway,
		Steady:     noFailure,
		Change:     fmt.Sprintf("keep pods from the API server for %s at least; meanwhile start a client, and scale out where clients ask the API server", runner.Seconds(leastAway)),
		Observe:    watchAPIAway,
		StartsPods: true,
		Alone:      true,
		Undo: func(ctx context.Context, env *runner.Environment) error {
			return env.Scale(ctx, env.Server, env.Replicas())
		},
	},
	Question: "Who goes on while the API server is away, and what does a client say that starts then?",
	OneByOne: true,
	Claims: []About{
		{
			Strategies: []string{"l4", "dns", "k8s-api", "envoy", "istio", "xds"},
			Claim: runner.Claim{
				ID:        51,
				Text:      "connected clients go on while the API server is away",
				Criterion: of(APIAway, mostInTime, undisturbed),
			},
		},
		{
			Strategies: []string{"k8s-api"},
			Claim: runner.Claim{
				ID:   52,
				Text: "while the API server is away a new client says so, and all clients catch up after that",
				Criterion: all(
					of(APIAway, silentAPI, newcomerFails),
					of(APIAway, exactly("with wait-for-ready 0 calls of a new client fail, and some wait"), patienceHelps),
					of(APIAway, caughtUp, catchUp),
				),
			},
		},
		{
			Strategies: []string{"l4", "dns", "envoy"},
			Claim: runner.Claim{
				ID:        53,
				Text:      "a client can start while the API server is away",
				Criterion: of(APIAway, exactly("0 of its calls fail"), newcomerWorks),
			},
		},
	},
})

func watchAPIAway(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	seen := &Newcomers{}
	env.Record.Update(func(*observe.Facts) { p.Evidence = seen })
	away := make(chan struct{}) // closed when it is
	return alongside(ctx,
		func(ctx context.Context) error {
			if err := without(ctx, env, p, cluster.Fault{Kind: cluster.APIAway}, func(ctx context.Context) error {
				close(away)
				return startMeanwhile(ctx, env, p, seen)
			}); err != nil {
				return err
			}
			return watchCatchUp(ctx, env, p)
		},
		func(ctx context.Context) error {
			select {
			case <-away:
			case <-ctx.Done():
			}
			if ctx.Err() != nil || !asksAPI(env.Strategy) {
				return context.Cause(ctx)
			}
			ran, err := startClient(ctx, env, APIAway+"-patient", patientTime+patientTimeout,
				"--wait-for-ready", "--timeout="+patientTimeout.String(), "--duration="+patientTime.String(), fmt.Sprintf("--rate=%d", patientRate))
			env.Record.Update(func(*observe.Facts) { seen.Patient = ran })
			return err
		})
}

// startMeanwhile runs a client, and scales out, while the API server is away. A pod of a
// mesh cannot start then: its agent gets no certificate.
func startMeanwhile(ctx context.Context, env *runner.Environment, p *observe.Phase, seen *Newcomers) error {
	if env.Strategy.Injected() {
		return nil
	}
	ran, err := startClient(ctx, env, APIAway, newcomerTime, "--duration="+newcomerTime.String(), "--timeout="+newcomerTime.String())
	if err != nil {
		return err
	}
	env.Record.Update(func(*observe.Facts) { seen.Plain = ran })
	if !asksAPI(env.Strategy) {
		return nil
	}
	if err := env.Scale(ctx, env.Server, 2*env.Replicas()); err != nil {
		return err
	}
	if err := env.ServersReady(ctx, 2*env.Replicas()); err != nil {
		return err
	}
	env.Record.Update(func(f *observe.Facts) { p.Added = runner.Without(f.ReadyNow(), p.Servers) })
	return nil
}

// watchCatchUp waits until the clients have called the added servers.
func watchCatchUp(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	err := env.Await(ctx, caughtUp.In(env.DNS), "calls of the added pods", func(f *observe.Facts) string {
		missing := 0
		for _, client := range p.Clients {
			for _, server := range p.Added {
				if _, called := f.Clients[client].First[server]; !called {
					missing++
				}
			}
		}
		if missing > 0 {
			return fmt.Sprintf("%d first calls are missing", missing)
		}
		return ""
	})
	if err != nil && ctx.Err() != nil {
		return err // that they never saw them is a result
	}
	return poll.Sleep(ctx, afterwards)
}

// patienceHelps wants that no call failed of the client whose calls wait for a connection.
func patienceHelps(_ *observe.Facts, p *observe.Phase, _ exactly) runner.Verdict {
	n, _ := p.Evidence.(*Newcomers)
	if n == nil || n.Patient == nil || n.Patient.Summary.Calls == 0 {
		return runner.NotRun("no client with wait-for-ready started meanwhile")
	}
	s, failed := n.Patient.Summary, distribution.Counts(n.Patient.Summary.Failures).Total()
	slowest := time.Duration(s.Latency.P999 * float64(time.Millisecond))
	if failed == 0 && slowest < newcomerTime {
		return runner.NotRun("no call waited for the API server: the slowest took %s", runner.Seconds(slowest))
	}
	return runner.Decided(failed == 0, "with wait-for-ready %d of %d failed, the slowest waited %s%s", failed, s.Calls, runner.Seconds(slowest.Round(10*time.Millisecond)), because(n.Patient)).
		With("waits %s", runner.Seconds(slowest.Round(10*time.Millisecond)))
}

// catchUp wants every client to call every server that was added meanwhile, soon after the
// API server is back and not before.
func catchUp(f *observe.Facts, p *observe.Phase, limit within) runner.Verdict {
	if len(p.Added) == 0 || len(p.Clients) == 0 || p.Restored.IsZero() {
		return runner.NotRun("%d servers were added beside %d clients", len(p.Added), len(p.Clients))
	}
	var slowest time.Duration
	for _, client := range p.Clients {
		for _, server := range p.Added {
			first, called := f.Clients[client].First[server]
			switch {
			case !called || first.After(p.End):
				return runner.Decided(false, "%s did not call %s within %s of the API server's return", client, server, runner.Seconds(p.End.Sub(p.Restored).Round(time.Second)))
			case first.Before(p.Restored):
				return runner.Decided(false, "%s called %s while the API server was away", client, server)
			}
			slowest = max(slowest, first.Sub(p.Restored))
		}
	}
	return runner.Decided(slowest <= limit.In(f.DNS), "%d clients called all %d added pods, the slowest %s after the API server's return",
		len(p.Clients), len(p.Added), runner.Seconds(slowest.Round(10*time.Millisecond))).With("pods seen after %s", runner.Seconds(slowest.Round(10*time.Millisecond)))
}
