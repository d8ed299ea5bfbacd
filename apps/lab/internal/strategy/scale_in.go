package strategy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Names of experiments that scale the servers in.
const (
	ScaleIn   = "scale-in"
	ScaleZero = "scale-to-zero"
)

const (
	// drained is what a server may take to stop: its drain and its running calls.
	drained = 45 * time.Second
	// atZero is how long there is no server.
	atZero = 5 * time.Second

	waiterRate    = 5 // calls a second
	waiterTime    = 40 * time.Second
	waiterTimeout = 90 * time.Second // of a call: dns clients look up again after 30 s or more
)

var _ = makeOnRequest(Asked{
	Experiment: runner.Experiment{
		Name:   ScaleIn,
		Steady: noFailure,
		Change: "scale the servers to 1",
		Act: func(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
			return scaleAndDrain(ctx, env, p, 1)
		},
		Observe: func(ctx context.Context, _ *runner.Environment, _ *observe.Phase) error {
			return poll.Sleep(ctx, afterwards)
		},
		Undo: asBefore,
	},
	Question: "Do clients lose calls when servers leave as a scale-in removes them?",
	Claims: []About{{
		Strategies: []string{"l4", "dns", "k8s-api", "envoy", "istio", "xds"},
		Claim: runner.Claim{
			ID:        43,
			Text:      "a scale-in to one server loses no call",
			Criterion: of(ScaleIn, mostInTime, undisturbed),
		},
	}},
})

var _ = makeOnRequest(Asked{
	Experiment: runner.Experiment{
		Name:   ScaleZero,
		Steady: noFailure,
		Change: fmt.Sprintf("scale the servers to 0 and, %s after the last one ended, back; a Job makes calls that wait for a ready connection", runner.Seconds(atZero)),
		Observe: func(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
			return alongside(ctx,
				func(ctx context.Context) error { return callAndWait(ctx, env, p) },
				func(ctx context.Context) error { return toZeroAndBack(ctx, env, p) })
		},
		StartsPods: true,
		Undo:       asBefore,
	},
	Question: "Do calls with wait-for-ready survive while no server is there?",
	Claims: []About{
		{
			Strategies: []string{"l4", "dns", "k8s-api", "xds"},
			Claim: runner.Claim{
				ID:        44,
				Text:      "calls with wait-for-ready survive a scale to zero and back",
				Criterion: of(ScaleZero, exactly("0 calls fail, and some waited while no server was there"), waited),
			},
		},
		{
			Strategies: []string{"envoy", "istio"},
			Claim: runner.Claim{
				ID:        45,
				Text:      "wait-for-ready does not help behind a proxy, to which the client stays connected",
				Criterion: of(ScaleZero, exactly("calls fail with Unavailable"), failedBehindProxy),
			},
		},
	},
})

// Waiter is evidence of a client whose calls wait for a ready connection.
type Waiter struct {
	Ran runner.ClientResult
}

// Summaries counts the Job's calls.
func (w *Waiter) Summaries() []calllog.Summary { return []calllog.Summary{w.Ran.Summary} }

// asBefore brings the overlay's servers back.
func asBefore(ctx context.Context, env *runner.Environment) error {
	if err := env.Scale(ctx, env.Server, env.Replicas()); err != nil {
		return err
	}
	return env.ServersReady(ctx, env.Replicas())
}

// scaleAndDrain scales the servers in, and waits until those that leave have ended.
func scaleAndDrain(ctx context.Context, env *runner.Environment, p *observe.Phase, left int) error {
	if err := env.Scale(ctx, env.Server, left); err != nil {
		return err
	}
	return env.Await(ctx, drained, "the end of the servers that leave", func(f *observe.Facts) string {
		ended := 0
		for _, name := range p.Servers {
			if s := f.Servers[name]; s != nil && s.Ended {
				ended++
			}
		}
		if want := len(p.Servers) - left; ended < want {
			return fmt.Sprintf("%d of %d have ended", ended, want)
		}
		return ""
	})
}

func toZeroAndBack(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	if err := scaleAndDrain(ctx, env, p, 0); err != nil {
		return err
	}
	if err := poll.Sleep(ctx, atZero); err != nil {
		return err
	}
	env.Record.Update(func(*observe.Facts) { p.Restored = time.Now() })
	return asBefore(ctx, env)
}

// callAndWait runs a client whose calls wait for a ready connection.
func callAndWait(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	args := slices.Concat(env.Clients.Spec.Template.Spec.Containers[0].Args, []string{
		"--wait-for-ready", "--timeout=" + waiterTimeout.String(), "--duration=" + waiterTime.String(), fmt.Sprintf("--rate=%d", waiterRate),
	})
	ran, err := env.RunClient(ctx, runner.ClientJob{Name: ScaleZero, Limit: waiterTime + waiterTimeout + runner.ProbeTimeout, Args: args, MayFail: true,
		Labels: injecting(env.Clients.Spec.Template.Labels), Annotations: env.Clients.Spec.Template.Annotations})
	if err != nil {
		return err
	}
	env.Record.Update(func(*observe.Facts) { p.Evidence = &Waiter{Ran: ran} })
	return nil
}

// injecting returns the labels that ask for a sidecar.
func injecting(labels map[string]string) map[string]string {
	some := maps.Clone(labels)
	maps.DeleteFunc(some, func(name, _ string) bool { return !strings.HasPrefix(name, "sidecar.istio.io/") })
	return some
}

// waited wants that no call failed though some were made while no server was there.
func waited(f *observe.Facts, _ *observe.Phase, _ exactly) runner.Verdict {
	w := observe.EvidenceOf[*Waiter](f, ScaleZero)
	if w == nil {
		return runner.NotRun("no client waited for ready connections")
	}
	s, failed := w.Ran.Summary, distribution.Counts(w.Ran.Summary.Failures).Total()
	slowest := time.Duration(s.Latency.P999 * float64(time.Millisecond))
	if failed == 0 && slowest < atZero {
		return runner.NotRun("no call waited: the slowest took %s", runner.Seconds(slowest))
	}
	return runner.Decided(failed == 0, "%d of %d calls failed, the slowest took %s", failed, s.Calls, runner.Seconds(slowest.Round(10*time.Millisecond))).With("%d of %d failed", failed, s.Calls)
}

// failedBehindProxy wants the proxy's answer in place of patience.
func failedBehindProxy(f *observe.Facts, _ *observe.Phase, _ exactly) runner.Verdict {
	w := observe.EvidenceOf[*Waiter](f, ScaleZero)
	if w == nil {
		return runner.NotRun("no client waited for ready connections")
	}
	unavailable := w.Ran.Summary.Failures["Unavailable"]
	return runner.Decided(unavailable > 0, "%d of %d calls failed with Unavailable: %s", unavailable, w.Ran.Summary.Calls, w.Ran.Failure).With("%d of %d failed", unavailable, w.Ran.Summary.Calls)
}
