package strategy

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// used is what a server used in one window of metrics-server's.
type used struct {
	Since      time.Time // when the window began
	Millicores float64
}

// serversUse reads from metrics.k8s.io what the servers' containers use, by pod.
func serversUse(ctx context.Context, env *runner.Environment) (map[string]used, error) {
	list, err := env.Kube.Dynamic.Resource(metricsv1beta1.SchemeGroupVersion.WithResource("pods")).Namespace(env.Namespace).
		List(ctx, metav1.ListOptions{LabelSelector: observe.NameLabel + "=" + env.Server})
	if err != nil {
		return nil, fmt.Errorf("reading metrics.k8s.io: %w", err)
	}
	var pods metricsv1beta1.PodMetricsList
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.UnstructuredContent(), &pods); err != nil {
		return nil, fmt.Errorf("reading metrics.k8s.io: %w", err)
	}
	all := map[string]used{}
	for _, p := range pods.Items {
		for _, c := range p.Containers {
			if c.Name == env.Server {
				all[p.Name] = used{p.Timestamp.Add(-p.Window.Duration), 1000 * c.Usage.Cpu().AsApproximateFloat64()}
			}
		}
	}
	return all, nil
}

// lookAtHPA reads what the HPA wants, and what the ready servers use since the load was
// raised.
func lookAtHPA(ctx context.Context, env *runner.Environment, p *observe.Phase) (Look, error) {
	hpa, err := env.Kube.Typed.AutoscalingV2().HorizontalPodAutoscalers(env.Namespace).Get(ctx, env.Server, metav1.GetOptions{})
	if err != nil {
		return Look{}, fmt.Errorf("reading the HPA: %w", err)
	}
	measured, err := serversUse(ctx, env)
	if err != nil {
		return Look{}, err
	}
	look := Look{At: time.Now(), Wanted: int(hpa.Status.DesiredReplicas), Millicores: map[string]float64{}}
	env.Record.Look(func(f *observe.Facts) {
		look.Ready = f.ReadyNow()
		for _, name := range look.Ready {
			// What it used to start does not count.
			if u, some := measured[name]; some && !u.Since.Before(p.Change) && !u.Since.Before(f.Ready[name]) {
				look.Millicores[name] = u.Millicores
			}
		}
	})
	return look, nil
}
