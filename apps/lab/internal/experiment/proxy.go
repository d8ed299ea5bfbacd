package experiment

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
)

const (
	drainTimeout  = 90 * time.Second
	brokenTimeout = 60 * time.Second
	brokenTime    = 5 * time.Second // what is watched once the broken pod has failed
	brokenName    = "broken"
)

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

// drainProxies evicts one proxy after the other, as `kubectl drain` does.
func drainProxies(ctx context.Context, a *arena, _ *Phase) error {
	proxies, err := a.readyProxies(ctx, 0)
	if err != nil {
		return err
	}
	if len(proxies) < 2 {
		return fmt.Errorf("%d proxies are ready: there is no other to go to", len(proxies))
	}
	for _, p := range proxies {
		a.note("evict pod %s", p.Name)
		if err := a.client.PolicyV1().Evictions(p.Namespace).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}}); err != nil {
			return fmt.Errorf("evicting pod %s: %w", p.Name, err)
		}
		if err := a.await(ctx, drainTimeout, "the end of "+p.Name, func(*Facts) string {
			if now := a.pods[p.Name]; now != nil && now.UID == p.UID {
				return "it still drains"
			}
			return ""
		}); err != nil {
			return err
		}
		if _, err := a.readyProxies(ctx, len(proxies)); err != nil {
			return err
		}
	}
	return pause(ctx, afterwards)
}

// readyProxies returns the proxies that are ready, when there are that many of
// them; 0 means as many as there are.
func (a *arena) readyProxies(ctx context.Context, n int) (ready []*corev1.Pod, err error) {
	err = a.await(ctx, steadyTimeout, "the proxies", func(*Facts) string {
		ready = nil
		for _, name := range keys(a.pods) {
			p := a.pods[name]
			if p.Labels[nameLabel] == a.strategy.Proxy && p.DeletionTimestamp == nil && podReady(p) {
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

// breakProxies gives the proxies a configuration that they refuse, in the way in
// which a new hash does, and waits until the first of them has failed.
func breakProxies(ctx context.Context, a *arena, _ *Phase) error {
	before, err := a.readyProxies(ctx, 0)
	if err != nil {
		return err
	}
	d, config, err := a.proxyConfig(ctx)
	if err != nil {
		return err
	}
	data := map[string]string{}
	for file := range config.Data {
		data[file] = "static_resources: {listeners: broken}\n"
	}
	a.note("apply ConfigMap %s with a configuration that the proxy refuses, and point Deployment %s at it", brokenName, d.Name)
	broken := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: brokenName, Namespace: a.facts.Namespace}, Data: data}
	if _, err := a.client.CoreV1().ConfigMaps(a.facts.Namespace).Create(ctx, broken, metav1.CreateOptions{FieldManager: FieldManager}); err != nil {
		return fmt.Errorf("creating ConfigMap %s: %w", brokenName, err)
	}
	if err := a.mountConfig(ctx, d, brokenName); err != nil {
		return err
	}
	outcome := &Rollout{Before: names(before)}
	if err := a.await(ctx, brokenTimeout, "the new proxy to fail or to be ready", func(*Facts) string {
		for _, name := range keys(a.pods) {
			p := a.pods[name]
			if p.Labels[nameLabel] != a.strategy.Proxy || slices.Contains(outcome.Before, name) {
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
	if err := pause(ctx, brokenTime); err != nil {
		return err
	}
	after, err := a.readyProxies(ctx, 0)
	if err != nil {
		return err
	}
	outcome.After = names(after)
	a.record.update(func(f *Facts) { f.Rollout = outcome })
	return nil
}

// mendProxies puts the rendered configuration back.
func mendProxies(ctx context.Context, a *arena) error {
	d, config, err := a.proxyConfig(ctx)
	if err != nil {
		return err
	}
	if err := a.mountConfig(ctx, d, config.Name); err != nil {
		return err
	}
	_ = a.client.CoreV1().ConfigMaps(a.facts.Namespace).Delete(ctx, brokenName, metav1.DeleteOptions{}) // else the namespace takes it along
	return a.kube.Available(ctx, a.facts.Namespace, d.Name)
}

// proxyConfig returns the proxies' Deployment as rendered and the ConfigMap that
// it mounts.
func (a *arena) proxyConfig(ctx context.Context) (*appsv1.Deployment, *corev1.ConfigMap, error) {
	d := a.proxies
	if d == nil {
		return nil, nil, fmt.Errorf("the rendering has no Deployment/%s", a.strategy.Proxy)
	}
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.ConfigMap != nil {
			config, err := a.client.CoreV1().ConfigMaps(a.facts.Namespace).Get(ctx, v.ConfigMap.Name, metav1.GetOptions{})
			return d, config, err
		}
	}
	return nil, nil, fmt.Errorf("deployment %s mounts no ConfigMap", d.Name)
}

// mountConfig lets the Deployment mount that ConfigMap in place of its own.
func (a *arena) mountConfig(ctx context.Context, d *appsv1.Deployment, name string) error {
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
	if _, err := a.client.AppsV1().Deployments(a.facts.Namespace).Patch(ctx, d.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager}); err != nil {
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
