package strategy

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

const rolloutTimeout = 2 * time.Minute

// restartRolling replaces every server as `kubectl rollout restart` does, and
// returns when the old ones are gone.
func restartRolling(ctx context.Context, a *runner.Environment, p *observe.Phase) error {
	a.Note("restart Deployment %s", a.Server)
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	if _, err := a.Kube.Typed.AppsV1().Deployments(a.Namespace).Patch(ctx, a.Server, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: runner.FieldManager}); err != nil {
		return fmt.Errorf("restarting %s: %w", a.Server, err)
	}
	if err := a.Await(ctx, rolloutTimeout, "the rollout", func(f *observe.Facts) string {
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
	return a.ServersReady(ctx, a.Replicas())
}

// killBusiest ends a server's process as a crash does: nobody drains, and the
// kubelet starts it anew in its pod.
func killBusiest(ctx context.Context, a *runner.Environment, p *observe.Phase) error {
	var uid types.UID
	id := ""
	a.Record.Update(func(f *observe.Facts) {
		p.Left = busiest(f, p, p.Servers)
		if pod := f.Pods[p.Left]; pod != nil {
			uid = pod.UID
			for _, s := range pod.Status.ContainerStatuses {
				if s.Name == a.Server {
					_, id, _ = strings.Cut(s.ContainerID, "://")
				}
			}
		}
	})
	if id == "" {
		return fmt.Errorf("no server is ready")
	}
	a.Note("kill -9 the server in pod %s", p.Left)
	if err := a.Cluster.Kill(ctx, uid, id); err != nil {
		return fmt.Errorf("killing the server in pod %s: %w", p.Left, err)
	}
	return nil
}

// watchKill waits until the server is there again.
func watchKill(ctx context.Context, a *runner.Environment, p *observe.Phase) error {
	if err := a.Await(ctx, runner.SteadyTimeout, "the restart of "+p.Left, func(f *observe.Facts) string {
		if pod := f.Pods[p.Left]; pod != nil {
			for _, s := range pod.Status.ContainerStatuses {
				if s.Name == a.Server && s.RestartCount > 0 && s.Ready {
					return ""
				}
			}
		}
		return "it is not ready again"
	}); err != nil {
		return err
	}
	return runner.Pause(ctx, afterwards)
}
