package strategy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// HPA is the name of the experiment.
const HPA = "hpa"

const (
	// hpaRate is each client's calls a second: so many that the calls take far more CPU than
	// the probes, and so few that two cores have the CPU for one strategy's.
	hpaRate = 300
	// overload is how many times a server's CPU limit the load of one client takes on a server
	// without a limit. One that has used up its limit answers the calls that wait together,
	// which takes less CPU a call.
	overload = 1.5
	// hpaTarget is the share of its limit, in percent, that the HPA wants a server to use
	// on average: so low that it adds servers although one of three is idle.
	hpaTarget = 50
	// hpaMost is how far the HPA may go, in multiples of the overlay's servers.
	hpaMost = 8
	// leastLimit in millicores is what a server can start with.
	leastLimit = 10

	lookInterval = 3 * time.Second
	hpaTime      = 5 * time.Minute
	loadTime     = time.Minute // metrics-server needs two scrapes, 10 s apart
)

var _ = makeOnRequest(Asked{
	Experiment: runner.Experiment{
		Name:       HPA,
		Steady:     everyServerCalled,
		Change:     fmt.Sprintf("limit each server to less CPU than the load of one client takes, which is %d calls a second, and let an HPA hold the servers at %d %% of it", hpaRate, hpaTarget),
		Act:        limitServers,
		Observe:    watchHPA,
		Undo:       undoHPA,
		StartsPods: true,
		Edits:      true,
		Metrics:    true,
		Rights: always(
			forwarding,
			runner.Access{Group: "apps", Resources: []string{"deployments"}, Verbs: []string{"patch"}},
			runner.Access{Group: "autoscaling", Resources: []string{"horizontalpodautoscalers"}, Verbs: []string{"create", "get", "delete"}},
			runner.Access{Group: "metrics.k8s.io", Resources: []string{"pods"}, Verbs: []string{"list"}},
		),
	},
	OneByOne: true,
	Question: "Do the servers that a HorizontalPodAutoscaler adds take load off those that have too much?",
	Claims: []About{
		{
			Strategies: []string{"l4"},
			Claim: runner.Claim{
				ID:        46,
				Text:      "an HPA stalls: servers with connections stay above its target, the others get no call",
				Criterion: of(HPA, aboveTarget, stalls),
			},
		},
		{
			Strategies: []string{"dns"},
			Claim: runner.Claim{
				ID:        47,
				Text:      "an HPA stalls while no connection is lost: the clients do not learn of the servers that it adds",
				Criterion: of(HPA, aboveTarget, stalls),
			},
		},
		{
			Strategies: []string{"k8s-api", "envoy"},
			Claim: runner.Claim{
				ID:        48,
				Text:      "an HPA settles: every server that it adds takes its share, and none is at its CPU limit",
				Criterion: of(HPA, onTarget, settles),
			},
		},
	},
})

// limitServers measures what the clients' load takes and gives each server a CPU limit that
// the load of one client exceeds, on a machine of any speed.
func limitServers(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	load, err := loadOf(ctx, env, p)
	if err != nil {
		return err
	}
	limit := max(leastLimit, int64(math.Round(load/float64(len(p.Clients))/overload)))
	env.Note("the load of %d clients takes %.0fm of CPU: limit each server to %dm", len(p.Clients), load, limit)
	cpu := fmt.Sprintf("%dm", limit)
	if err := patchServers(ctx, env, map[string]any{"requests": map[string]any{"cpu": cpu}, "limits": map[string]any{"cpu": cpu}}); err != nil {
		return err
	}
	env.Record.Update(func(*observe.Facts) { p.Evidence = &Scaled{Limit: limit} })
	if err := env.Await(ctx, rolloutTimeout, "the rollout", func(f *observe.Facts) string {
		if old := len(p.Servers) - len(runner.Without(p.Servers, f.ReadyNow())); old > 0 {
			return fmt.Sprintf("%d of %d old servers are ready", old, len(p.Servers))
		}
		return ""
	}); err != nil {
		return err
	}
	return everyServerCalled.Hold(ctx, env)
}

// loadOf returns what the servers use, in millicores, while the clients call at the
// experiment's rate.
func loadOf(ctx context.Context, env *runner.Environment, p *observe.Phase) (millicores float64, err error) {
	err = atRate(ctx, env, p.Clients, func() error {
		since := time.Now()
		limited, cancel := context.WithTimeoutCause(ctx, loadTime, fmt.Errorf("not in %s", loadTime))
		defer cancel()
		return poll.Until(limited, lookInterval, func(ctx context.Context) (string, error) {
			used, err := serversUse(ctx, env)
			if err != nil {
				return "", err
			}
			millicores = 0
			for _, name := range p.Servers {
				u, measured := used[name]
				if !measured || u.Since.Before(since) {
					return "metrics.k8s.io has no CPU of " + name + " under load", nil
				}
				millicores += u.Millicores
			}
			return "", nil
		})
	})
	return millicores, err
}

// atRate runs do while the clients call at the experiment's rate.
func atRate(ctx context.Context, env *runner.Environment, clients []string, do func() error) (err error) {
	rates, closeRates, err := rates(ctx, env, clients)
	if err != nil {
		return err
	}
	defer closeRates()
	env.Note("set the rate of %d clients to %d calls a second", len(clients), hpaRate)
	resume, err := setRates(ctx, rates, hpaRate)
	defer func() { err = errors.Join(err, resume()) }()
	if err != nil {
		return err
	}
	return do()
}

// patchServers changes the resources of the servers' container.
func patchServers(ctx context.Context, env *runner.Environment, resources map[string]any) error {
	container := map[string]any{"name": env.Server, "resources": resources}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{container}}}}})
	if err != nil {
		return err
	}
	if _, err := env.Kube.Typed.AppsV1().Deployments(env.Namespace).Patch(ctx, env.Server, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: runner.FieldManager}); err != nil {
		return fmt.Errorf("changing the resources of %s: %w", env.Server, err)
	}
	return nil
}

// watchHPA raises the load, creates the HPA and watches until it wants no change any more.
func watchHPA(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	var seen *Scaled
	env.Record.Update(func(f *observe.Facts) {
		seen = observe.EvidenceOf[*Scaled](f, HPA)
		p.Clients, p.Servers = f.Running(), f.ReadyNow()
	})
	return atRate(ctx, env, p.Clients, func() error {
		hpas := env.Kube.Typed.AutoscalingV2().HorizontalPodAutoscalers(env.Namespace)
		env.Note("create an HPA that holds %d to %d servers at %d %% of %dm CPU", env.Replicas(), hpaMost*env.Replicas(), hpaTarget, seen.Limit)
		if _, err := hpas.Create(ctx, hpaOf(env), metav1.CreateOptions{FieldManager: runner.FieldManager}); err != nil {
			return fmt.Errorf("creating the HPA: %w", err)
		}
		env.Record.Update(func(*observe.Facts) { p.Change = time.Now() })
		wanted := 0
		for end := time.Now().Add(hpaTime); time.Now().Before(end); {
			if err := poll.Sleep(ctx, lookInterval); err != nil {
				return err
			}
			look, err := lookAtHPA(ctx, env, p)
			if err != nil {
				return err
			}
			settled := false
			env.Record.Update(func(f *observe.Facts) {
				seen.Looks = append(seen.Looks, look)
				p.Added = runner.Without(f.ReadyNow(), p.Servers)
				_, settled = seen.settled()
			})
			if look.Wanted != wanted {
				wanted = look.Wanted
				env.Note("the HPA wants %d servers: %s", wanted, look.text(seen.Limit))
			}
			if settled {
				return nil
			}
		}
		return nil // that it did not settle is a result
	})
}

// hpaOf returns the HPA of the overlay's servers, with Kubernetes' own behaviour. It looks at
// the servers' container alone: a sidecar has its own load.
func hpaOf(env *runner.Environment) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: env.Server},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: env.Server},
			MinReplicas:    new(int32(env.Replicas())), MaxReplicas: int32(hpaMost * env.Replicas()),
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ContainerResourceMetricSourceType,
				ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
					Name: corev1.ResourceCPU, Container: env.Server,
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(hpaTarget))},
				},
			}},
		},
	}
}

// undoHPA removes the HPA, and brings back the overlay's servers and what they may use.
func undoHPA(ctx context.Context, env *runner.Environment) error {
	err := env.Kube.Typed.AutoscalingV2().HorizontalPodAutoscalers(env.Namespace).Delete(ctx, env.Server, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the HPA: %w", err)
	}
	rendered := env.Servers.Spec.Template.Spec.Containers[0].Resources
	if err := patchServers(ctx, env, map[string]any{
		"requests": map[string]any{"cpu": cpuOf(rendered.Requests)}, "limits": map[string]any{"cpu": cpuOf(rendered.Limits)},
	}); err != nil {
		return err
	}
	return asBefore(ctx, env)
}

// cpuOf returns what a patch sets, nil where it must remove the value.
func cpuOf(list corev1.ResourceList) any {
	if cpu, some := list[corev1.ResourceCPU]; some {
		return cpu.String()
	}
	return nil
}
