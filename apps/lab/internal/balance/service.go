package balance

import (
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// ServiceFindings returns what is wrong with the gRPC Services and their servers, for
// every client.
func (c *Cluster) ServiceFindings() []Finding {
	var all []Finding
	find := func(about []*corev1.Service, name string, o manifest.Object, value, format string, args ...any) {
		found := newFinding(name, o, value, format, args...)
		found.About = about
		all = append(all, found)
	}
	before := map[manifest.Object][]*corev1.Service{} // each server
	for _, s := range c.Services() {
		about := []*corev1.Service{s}
		if !Headless(s) && s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
			find(about, "session-affinity", s, "sessionAffinity", "sessionAffinity is ClientIP: kube-proxy sends all connections of a client's address to one pod, for 3 hours after the last")
		}
		if policy := s.Spec.InternalTrafficPolicy; !Headless(s) && policy != nil && *policy == corev1.ServiceInternalTrafficPolicyLocal {
			find(about, "traffic-policy", s, "internalTrafficPolicy", "internalTrafficPolicy is Local: a client calls the pods of its own node alone, and none if the node has none")
		}
		if d := s.Spec.TrafficDistribution; d != nil && *d == corev1.ServiceTrafficDistributionPreferSameNode {
			find(about, "traffic-policy", s, "trafficDistribution", "trafficDistribution is PreferSameNode: a client calls the pods of its own node alone while the node has one")
		}
		if s.Spec.PublishNotReadyAddresses {
			find(about, "not-ready-addresses", s, "publishNotReadyAddresses", "publishNotReadyAddresses is true: pods that are not ready get calls")
		}
		for _, w := range c.Selected(s) {
			before[w.Object] = append(before[w.Object], s)
		}
	}
	for _, w := range c.workloads { // in their order
		if about := before[w.Object]; len(about) > 0 {
			for _, container := range w.Template.Spec.Containers {
				if len(container.Ports) > 0 && container.ReadinessProbe == nil {
					find(about, "readiness", w.Object, container.Name, "container %s has no readiness probe: its pod gets calls before it can answer", container.Name)
				}
			}
		}
	}
	c.budgets(before, find)
	c.subsets(find)
	c.pinnedAutoscalers(before, find)
	return all
}

type findFunc func(about []*corev1.Service, name string, o manifest.Object, value, format string, args ...any)

// budgets finds PodDisruptionBudgets that let no pod of a server go.
func (c *Cluster) budgets(before map[manifest.Object][]*corev1.Service, find findFunc) {
	for _, b := range manifest.All[*policyv1.PodDisruptionBudget](c.objects) {
		for _, w := range c.workloads {
			if len(before[w.Object]) == 0 || b.Spec.Selector == nil || len(b.Spec.Selector.MatchExpressions) > 0 || !sameNamespace(b.Namespace, w.GetNamespace()) ||
				!labels.SelectorFromSet(b.Spec.Selector.MatchLabels).Matches(labels.Set(w.Template.Labels)) {
				continue
			}
			pods := 1
			if n := w.Replicas(); n != nil {
				pods = int(*n)
			}
			if most := b.Spec.MaxUnavailable; most != nil && scaled(*most, pods) == 0 {
				find(before[w.Object], "disruption-budget", b, "maxUnavailable", "maxUnavailable is %s: no pod may go, so a node with one of them cannot be drained", most.String())
			}
			if least := b.Spec.MinAvailable; least != nil && pods > 0 && scaled(*least, pods) >= pods {
				find(before[w.Object], "disruption-budget", b, "minAvailable", "minAvailable is %s of %d pods: no pod may go, so a node with one of them cannot be drained", least.String(), pods)
			}
		}
	}
}

// scaled returns a number or a part of all, rounded up as Kubernetes rounds it.
func scaled(value intstr.IntOrString, all int) int {
	n, err := intstr.GetScaledValueFromIntOrPercent(&value, all, true)
	if err != nil {
		return -1 // the API server refuses it
	}
	return n
}

// subsets finds subsets of Istio's DestinationRules that no pod is in.
// Source: Istio's reference of DestinationRule.
func (c *Cluster) subsets(find findFunc) {
	for _, o := range manifest.All[*unstructured.Unstructured](c.objects) {
		if o.GroupVersionKind().Group != "networking.istio.io" || o.GetKind() != "DestinationRule" {
			continue
		}
		host, _, _ := unstructured.NestedString(o.Object, "spec", "host")
		name, problem := Target{Scheme: "dns", Host: host}.serviceName(o.GetNamespace())
		s := c.service(name.service, name.namespace)
		if problem != "" || s == nil {
			continue
		}
		subsets, _, _ := unstructured.NestedSlice(o.Object, "spec", "subsets")
		for _, raw := range subsets {
			subset, _ := raw.(map[string]any)
			wanted, _, _ := unstructured.NestedStringMap(subset, "labels")
			if len(wanted) > 0 && !slices.ContainsFunc(c.Selected(s), func(w manifest.Workload) bool {
				return labels.SelectorFromSet(wanted).Matches(labels.Set(w.Template.Labels))
			}) {
				find([]*corev1.Service{s}, "destination-subset", o, "", "subset %v has the labels %v, which no pod of Service/%s has: calls that a route sends to it fail", subset["name"], wanted, s.Name)
			}
		}
	}
}

// pinnedAutoscalers finds HorizontalPodAutoscalers of servers whose clients stay on one
// pod: the others are idle, and the average stays low.
func (c *Cluster) pinnedAutoscalers(before map[manifest.Object][]*corev1.Service, find findFunc) {
	pinned := map[manifest.Object]bool{}
	for _, p := range c.Paths() {
		for _, w := range p.Servers {
			pinned[w.Object] = pinned[w.Object] || p.Verdict == Pinned
		}
	}
	for _, h := range manifest.All[*autoscalingv2.HorizontalPodAutoscaler](c.objects) {
		for _, w := range c.workloads {
			if pinned[w.Object] && manifest.Describe(w.Object) == h.Spec.ScaleTargetRef.Kind+"/"+h.Spec.ScaleTargetRef.Name && sameNamespace(h.Namespace, w.GetNamespace()) {
				find(before[w.Object], "autoscaler-pinned", h, "", "it scales %s, whose clients stay on one pod: new pods get no calls, so the average stays below the target", manifest.Describe(w.Object))
			}
		}
	}
}
