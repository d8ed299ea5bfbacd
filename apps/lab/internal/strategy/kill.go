package strategy

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Kill is the name of the experiment.
const Kill = "kill"

var _ = makeWithEvery(runner.Experiment{
	Name: Kill, Order: 60, Purpose: runner.Compare,
	Steady:  noFailure,
	Change:  "kill -9 the server with the most calls",
	Act:     killBusiest,
	Observe: watchKill,
	Assert:  func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
})

// killBusiest ends a server's process as a crash does: nobody drains, and the
// kubelet starts it anew in its pod.
func killBusiest(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	var uid types.UID
	id := ""
	env.Record.Update(func(f *observe.Facts) {
		p.Left = busiest(f, p, p.Servers)
		if pod := f.Pods[p.Left]; pod != nil {
			uid = pod.UID
			for _, s := range pod.Status.ContainerStatuses {
				if s.Name == env.Server {
					_, id, _ = strings.Cut(s.ContainerID, "://")
				}
			}
		}
	})
	if id == "" {
		return fmt.Errorf("no server is ready")
	}
	env.Note("kill -9 the server in pod %s", p.Left)
	if err := env.Cluster.Kill(ctx, uid, id); err != nil {
		return fmt.Errorf("killing the server in pod %s: %w", p.Left, err)
	}
	return nil
}

// watchKill waits until the server is there again.
func watchKill(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	if err := env.Await(ctx, runner.SteadyTimeout, "the restart of "+p.Left, func(f *observe.Facts) string {
		if pod := f.Pods[p.Left]; pod != nil {
			for _, s := range pod.Status.ContainerStatuses {
				if s.Name == env.Server && s.RestartCount > 0 && s.Ready {
					return ""
				}
			}
		}
		return "it is not ready again"
	}); err != nil {
		return err
	}
	return poll.Sleep(ctx, afterwards)
}
