package strategy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Names of experiments, by which claims find their phases.
const (
	ProxyDrains         = "proxy-drains"
	BrokenConfiguration = "broken-configuration"
)

var _ = add(runner.Strategy{
	Name: "envoy", Order: 70,
	Recognises:  func(v balance.View) bool { return v.Dials("envoy") },
	Balancer:    "Envoy, a Deployment between clients and servers",
	EveryServer: true,
	Proxy:       "envoy",
	Claims: []runner.Claim{
		{
			ID:        31,
			Text:      "the proxies spread every client's calls",
			Criterion: of(Steady, evenEnough, spreadFairly),
		},
		{
			ID:   32,
			Text: "after a scale-out every client's calls reach every new pod",
			// The proxy looks a headless name up each second and checks health; both and a
			// margin are 5 s.
			Criterion: ofAdded(within{Delay: Delay{Fixed: 5 * time.Second, Cache: true}, Of: "of Ready (CoreDNS's cache, refresh, health check)"}, called),
		},
		{
			ID:        33,
			Text:      "draining one proxy of two, and then the other, loses no call",
			Criterion: of(ProxyDrains, mostInTime, undisturbed),
		},
		{
			ID:        34,
			Text:      "a configuration that the proxy refuses does not roll out",
			Criterion: of(BrokenConfiguration, oldProxiesStay{mostInTime}, notRolledOut),
		},
	},
	Experiments: []runner.Experiment{
		{
			Name: ProxyDrains, Order: 40, Purpose: runner.Prove,
			Rights:  always(runner.Access{Resources: []string{"pods/eviction"}, Verbs: []string{"create"}}),
			Steady:  everyServerCalled,
			Change:  "evict one proxy and, when it is replaced, the next",
			Observe: drainProxies,
			Assert:  func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
		},
		{
			Name: BrokenConfiguration, Order: 40, Purpose: runner.Prove, Edits: true,
			Rights: always(
				runner.Access{Resources: []string{"configmaps"}, Verbs: []string{"create", "delete", "get"}},
				runner.Access{Group: "apps", Resources: []string{"deployments"}, Verbs: []string{"get"}},
			),
			Steady:  everyServerCalled,
			Change:  "point the proxies at a configuration that they refuse",
			Observe: breakProxies,
			Assert:  func(f *observe.Facts, p *observe.Phase) []report.Finding { return []report.Finding{noFailures(f, p)} },
			Undo:    mendProxies,
		},
	},
})

const (
	drainTimeout  = 90 * time.Second
	brokenTimeout = 60 * time.Second
	brokenTime    = 5 * time.Second // what is watched once the broken pod has failed
	brokenName    = "broken"
)

// drainProxies evicts one proxy after the other, as `kubectl drain` does.
func drainProxies(ctx context.Context, env *runner.Environment, _ *observe.Phase) error {
	proxies, err := readyProxies(ctx, env, 0)
	if err != nil {
		return err
	}
	if len(proxies) < 2 {
		return fmt.Errorf("%d proxies are ready: there is no other to go to", len(proxies))
	}
	for _, p := range proxies {
		env.Note("evict pod %s", p.Name)
		if err := env.Kube.Typed.PolicyV1().Evictions(p.Namespace).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}}); err != nil {
			return fmt.Errorf("evicting pod %s: %w", p.Name, err)
		}
		if err := env.Await(ctx, drainTimeout, "the end of "+p.Name, func(f *observe.Facts) string {
			if now := f.Pods[p.Name]; now != nil && now.UID == p.UID {
				return "it still drains"
			}
			return ""
		}); err != nil {
			return err
		}
		if _, err := readyProxies(ctx, env, len(proxies)); err != nil {
			return err
		}
	}
	return poll.Sleep(ctx, afterwards)
}

// readyProxies returns the proxies that are ready, when there are that many of
// them; 0 means as many as there are.
func readyProxies(ctx context.Context, env *runner.Environment, n int) (ready []*corev1.Pod, err error) {
	err = env.Await(ctx, runner.SteadyTimeout, "the proxies", func(f *observe.Facts) string {
		ready = nil
		for _, name := range observe.Keys(f.Pods) {
			p := f.Pods[name]
			if p.Labels[observe.NameLabel] == env.Strategy.Proxy && p.DeletionTimestamp == nil && podReady(p) {
				ready = append(ready, p)
			}
		}
		if len(ready) < n {
			return fmt.Sprintf("%d of %d are ready", len(ready), n)
		}
		return ""
	})
	return ready, err
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// undisturbed wants no call lost in an experiment and almost all in time.
func undisturbed(f *observe.Facts, p *observe.Phase, limit lossless) runner.Verdict {
	failed, total := f.Failed(p)
	late := late(f, p)
	if total == 0 {
		return runner.NotRun("no call was made")
	}
	return runner.Decided(failed == late && limit.keptBy(total-late, total), "%d calls of %d clients in %s: %d lost, %d late",
		total, len(p.Clients), runner.Seconds(p.End.Sub(p.Change).Round(100*time.Millisecond)), failed-late, late).
		With("%d of %d lost", failed-late, total)
}

// Rollout is what became of a Deployment of proxies that was given a
// configuration which the proxy refuses.
type Rollout struct {
	// Ready are the old pods that were ready before and after, New is the pod
	// with the broken configuration.
	Before, After []string
	New           string
	NewReady      bool
	// Why is what Kubernetes says of the new pod.
	Why string
}

// breakProxies gives the proxies a configuration that they refuse, in the way in
// which a new hash does, and waits until the first of them has failed.
func breakProxies(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	before, err := readyProxies(ctx, env, 0)
	if err != nil {
		return err
	}
	d, config, err := proxyConfig(ctx, env)
	if err != nil {
		return err
	}
	data := map[string]string{}
	for file := range config.Data {
		data[file] = "static_resources: {listeners: broken}\n"
	}
	env.Note("apply ConfigMap %s with a configuration that the proxy refuses, and point Deployment %s at it", brokenName, d.Name)
	broken := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: brokenName, Namespace: env.Namespace}, Data: data}
	if _, err := env.Kube.Typed.CoreV1().ConfigMaps(env.Namespace).Create(ctx, broken, metav1.CreateOptions{FieldManager: runner.FieldManager}); err != nil {
		return fmt.Errorf("creating ConfigMap %s: %w", brokenName, err)
	}
	if err := mountConfig(ctx, env, d, brokenName); err != nil {
		return err
	}
	outcome := &Rollout{Before: names(before)}
	if err := env.Await(ctx, brokenTimeout, "the new proxy to fail or to be ready", func(f *observe.Facts) string {
		for _, name := range observe.Keys(f.Pods) {
			p := f.Pods[name]
			if p.Labels[observe.NameLabel] != env.Strategy.Proxy || slices.Contains(outcome.Before, name) {
				continue
			}
			outcome.New, outcome.NewReady = name, podReady(p)
			for _, s := range p.Status.ContainerStatuses {
				if last := s.LastTerminationState.Terminated; last != nil && last.ExitCode != 0 {
					outcome.Why = fmt.Sprintf("exit code %d, %d restarts", last.ExitCode, s.RestartCount)
				}
			}
		}
		if outcome.NewReady || outcome.Why != "" {
			return ""
		}
		return "neither"
	}); err != nil {
		return err
	}
	if err := poll.Sleep(ctx, brokenTime); err != nil {
		return err
	}
	after, err := readyProxies(ctx, env, 0)
	if err != nil {
		return err
	}
	outcome.After = names(after)
	env.Record.Update(func(*observe.Facts) { p.Evidence = outcome })
	return nil
}

// mendProxies puts the rendered configuration back.
func mendProxies(ctx context.Context, env *runner.Environment) error {
	d, config, err := proxyConfig(ctx, env)
	if err != nil {
		return err
	}
	if err := mountConfig(ctx, env, d, config.Name); err != nil {
		return err
	}
	_ = env.Kube.Typed.CoreV1().ConfigMaps(env.Namespace).Delete(ctx, brokenName, metav1.DeleteOptions{}) // else the namespace takes it along
	return env.Kube.Available(ctx, env.Namespace, d.Name)
}

// proxyConfig returns the proxies' Deployment as rendered and the ConfigMap that
// it mounts.
func proxyConfig(ctx context.Context, env *runner.Environment) (*appsv1.Deployment, *corev1.ConfigMap, error) {
	d := env.Proxies
	if d == nil {
		return nil, nil, fmt.Errorf("the rendering has no Deployment/%s", env.Strategy.Proxy)
	}
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.ConfigMap != nil {
			config, err := env.Kube.Typed.CoreV1().ConfigMaps(env.Namespace).Get(ctx, v.ConfigMap.Name, metav1.GetOptions{})
			return d, config, err
		}
	}
	return nil, nil, fmt.Errorf("deployment %s mounts no ConfigMap", d.Name)
}

// mountConfig lets the Deployment mount that ConfigMap in place of its own.
func mountConfig(ctx context.Context, env *runner.Environment, d *appsv1.Deployment, name string) error {
	var volumes []corev1.Volume
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.ConfigMap != nil {
			v = *v.DeepCopy()
			v.ConfigMap.Name = name
		}
		volumes = append(volumes, v)
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"volumes": volumes}}}})
	if err != nil {
		return err
	}
	if _, err := env.Kube.Typed.AppsV1().Deployments(env.Namespace).Patch(ctx, d.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: runner.FieldManager}); err != nil {
		return fmt.Errorf("pointing Deployment %s at ConfigMap %s: %w", d.Name, name, err)
	}
	return nil
}

func names(pods []*corev1.Pod) []string {
	all := make([]string, len(pods))
	for i, p := range pods {
		all[i] = p.Name
	}
	slices.Sort(all)
	return all
}

// oldProxiesStay is the limit of a rollout that fails: lossless, and no new pod
// becomes ready.
type oldProxiesStay struct{ lossless }

func (oldProxiesStay) Sentence(observe.DNS) string {
	return "the new pod never becomes ready, the old ones stay, no call is lost"
}

// notRolledOut wants the old proxies to stay while the new one fails.
func notRolledOut(f *observe.Facts, p *observe.Phase, limit oldProxiesStay) runner.Verdict {
	r := observe.EvidenceOf[*Rollout](f, BrokenConfiguration)
	if r == nil || len(r.Before) == 0 {
		return runner.NotRun("no proxy was there before")
	}
	if r.NewReady {
		return runner.Decided(false, "%s is ready with the broken configuration", r.New)
	}
	stayed := runner.Decided(slices.Equal(r.Before, r.After), "%s never became ready (%s); of %d old proxies %d serve on", r.New, r.Why, len(r.Before), len(r.After))
	if stayed.Status != report.Proven {
		return stayed
	}
	served := undisturbed(f, p, limit.lossless)
	if served.Status == report.Proven {
		served.Measured = stayed.Measured + "; " + served.Measured
	}
	return served
}
