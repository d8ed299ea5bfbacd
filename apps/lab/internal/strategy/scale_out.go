package strategy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// ScaleOut is the name of the experiment.
const ScaleOut = "scale-out"

// watchTime is the least that is waited for calls of new pods.
const watchTime = 10 * time.Second

var _ = makeWithEvery(runner.Experiment{
	Name: ScaleOut, Order: 30,
	Rights: func(s runner.Strategy) []runner.Access {
		if s.ByName {
			return []runner.Access{executing} // a client looks the servers up
		}
		return nil
	},
	Steady: noFailure,
	Change: "scale the servers to twice as many",
	Act: func(ctx context.Context, env *runner.Environment, _ *observe.Phase) error {
		if err := env.Scale(ctx, env.Server, 2*env.Replicas()); err != nil {
			return err
		}
		return env.ServersReady(ctx, 2*env.Replicas())
	},
	StartsPods: true,
	Observe: func(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
		if err := alongside(ctx, func(ctx context.Context) error { return watchAdded(ctx, env, p) },
			func(ctx context.Context) error { return lookUp(ctx, env, p) }); err != nil || env.ConnectionAge == 0 {
			return err
		}
		if err := watchAged(ctx, env, p); err != nil && ctx.Err() != nil {
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
	Undo:  asBefore,
	Inner: []runner.Experiment{serverLeaves},
})

// watchAdded looks at new servers for longer than observe.DNS can trail.
func watchAdded(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	env.Record.Update(func(f *observe.Facts) { p.Added = runner.Without(f.ReadyNow(), p.Servers) })
	return poll.Sleep(ctx, max(watchTime, env.DNS.MaxStaleness()+2*time.Second))
}

func addedAreCalled(f *observe.Facts, p *observe.Phase) report.Finding {
	pairs := f.FirstCalls(p)
	text, all := pairsText(pairs, f.Watched(p))
	var each []string
	for _, pod := range p.Added {
		first := distribution.FirstCall{Server: pod}
		for _, c := range pairs {
			if c.Server == pod && c.Called && (!first.Called || c.After < first.After) {
				first = c.FirstCall
			}
		}
		if first.Called {
			each = append(each, fmt.Sprintf("%s first after %s", pod, runner.Seconds(first.After.Round(10*time.Millisecond))))
		} else {
			each = append(each, fmt.Sprintf("%s never in %s", pod, runner.Seconds(f.Watched(p))))
		}
	}
	return report.Finding{
		Text: "every client calls every new pod", Holds: all && len(pairs) > 0,
		Measured: text + " (" + strings.Join(each, ", ") + ")",
	}
}

// pairsText counts the pairs that were called and names the slowest.
func pairsText(pairs []observe.Pair, watched time.Duration) (text string, all bool) {
	var calls []distribution.FirstCall
	missing := 0
	for _, p := range pairs {
		if p.Called {
			calls = append(calls, p.FirstCall)
		} else {
			missing++
		}
	}
	slowest, some := distribution.Slowest(calls)
	switch {
	case !some:
		return "never in " + runner.Seconds(watched), false
	case missing > 0:
		return fmt.Sprintf("%d of %d never in %s, the others within %s", missing, len(pairs), runner.Seconds(watched), runner.Seconds(slowest.After.Round(10*time.Millisecond))), false
	}
	return "the slowest after " + runner.Seconds(slowest.After.Round(10*time.Millisecond)), true
}
