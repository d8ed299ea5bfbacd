package strategy

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// RollingRestart is the name of the experiment.
const RollingRestart = "rolling-restart"

var _ = makeWithEvery(runner.Experiment{
	Name: RollingRestart, Order: 50, Purpose: runner.Compare,
	Steady:     noFailure,
	Change:     "restart the servers' Deployment",
	Act:        restartRolling,
	StartsPods: true,
	Observe: func(ctx context.Context, _ *runner.Environment, _ *observe.Phase) error {
		return poll.Sleep(ctx, afterwards)
	},
	Assert: func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
})

const rolloutTimeout = 2 * time.Minute

// rollingRestart replaces every server as `kubectl rollout restart` does.
func rollingRestart(ctx context.Context, env *runner.Environment) error {
	return restartDeployment(ctx, env, env.Server)
}

// restartDeployment asks for new pods, and does not wait for them.
func restartDeployment(ctx context.Context, env *runner.Environment, name string) error {
	env.Note("restart Deployment %s", name)
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	if _, err := env.Kube.Typed.AppsV1().Deployments(env.Namespace).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: runner.FieldManager}); err != nil {
		return fmt.Errorf("restarting %s: %w", name, err)
	}
	return nil
}

// restartRolling returns when the old servers are gone.
func restartRolling(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	if err := rollingRestart(ctx, env); err != nil {
		return err
	}
	if err := env.Await(ctx, rolloutTimeout, "the rollout", func(f *observe.Facts) string {
		left := 0
		for _, name := range p.Servers {
			if s := f.Servers[name]; s == nil || !s.Ended {
				left++
			}
		}
		if left > 0 {
			return fmt.Sprintf("%d of %d old servers still run", left, len(p.Servers))
		}
		return ""
	}); err != nil {
		return err
	}
	return env.ServersReady(ctx, env.Replicas())
}
