package strategy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Steady is the name of the experiment.
const Steady = "steady"

const steadyTime = 10 * time.Second

var _ = makeWithEvery(runner.Experiment{
	Name: Steady, Order: 10,
	Steady:  everyServerCalled,
	Change:  "none",
	Observe: watchSteady,
	Assert:  func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
	AtRest:  true,
})

// watchSteady looks on, and makes sure that nothing changed meanwhile.
func watchSteady(ctx context.Context, env *runner.Environment, p *observe.Phase) (err error) {
	if err := poll.Sleep(ctx, steadyTime); err != nil {
		return err
	}
	env.Record.Look(func(f *observe.Facts) {
		if since := f.EndpointsSince(); since.After(p.Begin) || !slices.Equal(f.Running(), p.Clients) {
			err = fmt.Errorf("pods changed while it was measured: servers %v became %v, clients %v became %v", p.Servers, f.ReadyNow(), p.Clients, f.Running())
		}
	})
	return err
}

func noFailures(f *observe.Facts, p *observe.Phase) report.Finding {
	failed, all := f.Failed(p)
	return report.Finding{Text: "no call fails", Holds: failed == 0, Measured: fmt.Sprintf("%d of %d failed", failed, all)}
}
