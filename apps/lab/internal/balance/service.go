package balance

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
		if !Headless(s) && s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP && !c.meshed(s) {
			find(about, "session-affinity", s, "sessionAffinity", "sessionAffinity is ClientIP: kube-proxy sends all connections of a client's address to one pod, for %s after the last", affinityTime(s))
		}
		everyNode := c.onEveryNode(s)
		if policy := s.Spec.InternalTrafficPolicy; !Headless(s) && policy != nil && *policy == corev1.ServiceInternalTrafficPolicyLocal && !everyNode {
			find(about, "traffic-policy", s, "internalTrafficPolicy", "internalTrafficPolicy is Local: a client calls the pods of its own node alone, and none if the node has none")
		}
		if d := s.Spec.TrafficDistribution; d != nil && *d == corev1.ServiceTrafficDistributionPreferSameNode && !everyNode {
			find(about, "traffic-policy", s, "trafficDistribution", "trafficDistribution is PreferSameNode: a client calls the pods of its own node alone while the node has one")
		}
		if s.Spec.PublishNotReadyAddresses && !c.forPeers(s) {
			find(about, "not-ready-addresses", s, "publishNotReadyAddresses", "publishNotReadyAddresses is true: pods that are not ready get calls")
		}
		for _, w := range c.Selected(s) {
			before[w.Object] = append(before[w.Object], s)
		}
	}
	for _, w := range c.workloads { // in their order
		if about := before[w.Object]; len(about) > 0 {
			for _, container := range w.Template.Spec.Containers {
				if container.ReadinessProbe == nil && container.StartupProbe == nil && c.serves(container, w, about) {
					find(about, "readiness", w.Object, container.Name, "container %s has no readiness probe: its pod gets calls before it can answer", container.Name)
				}
			}
		}
	}
	c.budgets(before, find)
	c.subsets(find)
	c.pinnedAutoscalers(before, find)
	c.grpcRoutes(find)
	c.listeners(find)
	c.refusedPolicies(find)
	return slices.Concat(all, c.gatewayPolicies(), c.proxyPolicies())
}

// affinityTime is how long sessionAffinity lasts after a client's last connection.
func affinityTime(s *corev1.Service) time.Duration {
	seconds := corev1.DefaultClientIPServiceAffinitySeconds
	if config := s.Spec.SessionAffinityConfig; config != nil && config.ClientIP != nil && config.ClientIP.TimeoutSeconds != nil {
		seconds = *config.ClientIP.TimeoutSeconds
	}
	return time.Duration(seconds) * time.Second
}

// callers returns the ways of the clients that call the Service.
func (c *Cluster) callers(s *corev1.Service) []Path {
	return slices.DeleteFunc(slices.Clone(c.Paths()), func(p Path) bool { return p.Service != s && p.Through != s })
}

// meshed says whether a mesh chooses for all clients of the Service that are known, and
// there is one.
func (c *Cluster) meshed(s *corev1.Service) bool {
	callers := c.callers(s)
	return len(callers) > 0 && !slices.ContainsFunc(callers, func(p Path) bool { return p.Client.Mesh == NoMesh || p.Verdict != Balanced })
}

// onEveryNode says whether the Service's servers are DaemonSets that choose no nodes.
func (c *Cluster) onEveryNode(s *corev1.Service) bool {
	servers := c.Selected(s)
	return len(servers) > 0 && !slices.ContainsFunc(servers, func(w manifest.Workload) bool {
		chosen := len(w.Template.Spec.NodeSelector) > 0 || w.Template.Spec.Affinity != nil && w.Template.Spec.Affinity.NodeAffinity != nil
		return !isDaemonSet(w) || chosen
	})
}

// isDaemonSet goes by the kind: the live objects of this package's users can be of any type.
func isDaemonSet(w manifest.Workload) bool {
	return w.GetObjectKind().GroupVersionKind().Kind == "DaemonSet"
}

// forPeers says whether the Service is beside another one of the same servers, and no client
// that is known calls it.
func (c *Cluster) forPeers(s *corev1.Service) bool {
	return len(c.callers(s)) == 0 && slices.ContainsFunc(manifest.All[*corev1.Service](c.objects), func(other *corev1.Service) bool {
		return other != s && !other.Spec.PublishNotReadyAddresses && slices.ContainsFunc(c.Selected(other), func(w manifest.Workload) bool {
			return slices.ContainsFunc(c.Selected(s), func(own manifest.Workload) bool { return own.Object == w.Object })
		})
	})
}

// serves says whether a port of the Services leads to the container. One that no container
// declares can lead to any that has ports.
func (c *Cluster) serves(container corev1.Container, w manifest.Workload, services []*corev1.Service) bool {
	for _, s := range services {
		for _, p := range s.Spec.Ports {
			target := manifest.TargetPort(p)
			if c.IsGRPC(s, p) && len(container.Ports) > 0 && (hasPort(container, target) || !w.HasPort(target)) {
				return true
			}
		}
	}
	return false
}

func hasPort(c corev1.Container, port intstr.IntOrString) bool {
	return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return manifest.IsPort(p, port) })
}

type findFunc func(about []*corev1.Service, name string, o manifest.Object, value, format string, args ...any)

// budgets finds PodDisruptionBudgets that let no pod of their servers go. A drain leaves
// the pods of a DaemonSet where they are.
func (c *Cluster) budgets(before map[manifest.Object][]*corev1.Service, find findFunc) {
	for _, b := range manifest.All[*policyv1.PodDisruptionBudget](c.objects) {
		var about []*corev1.Service
		pods := 0
		for _, w := range c.workloads {
			if b.Spec.Selector == nil || isDaemonSet(w) || owned(w.Object) || !sameNamespace(b.Namespace, w.GetNamespace()) || !selects(b.Spec.Selector, w.Template.Labels) {
				continue
			}
			about = append(about, before[w.Object]...)
			pods += c.podsOf(w)
		}
		if len(about) == 0 || pods == 0 {
			continue
		}
		if most := b.Spec.MaxUnavailable; most != nil && scaled(*most, pods) == 0 {
			find(about, "disruption-budget", b, "maxUnavailable", "maxUnavailable is %s: no pod may go, so a node with one of them cannot be drained", most.String())
		}
		if least := b.Spec.MinAvailable; least != nil && scaled(*least, pods) >= pods {
			find(about, "disruption-budget", b, "minAvailable", "minAvailable is %s of %d pods: no pod may go, so a node with one of them cannot be drained", least.String(), pods)
		}
	}
}

// owned says whether a controller made the object of another one.
func owned(o manifest.Object) bool { return metav1.GetControllerOf(o) != nil }

// podsOf returns how many pods a workload has at least.
func (c *Cluster) podsOf(w manifest.Workload) int {
	for _, a := range manifest.Autoscalers(c.objects) {
		if a.Scales(w) {
			return int(a.Min)
		}
	}
	if n := w.Replicas(); n != nil {
		return int(*n)
	}
	return 1
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
	for _, s := range manifest.All[*corev1.Service](c.objects) {
		for _, o := range c.destinationRules(s) {
			for _, subset := range objectsIn(o.Object, "spec", "subsets") {
				wanted, _, _ := unstructured.NestedStringMap(subset, "labels")
				if len(wanted) > 0 && !slices.ContainsFunc(c.Selected(s), func(w manifest.Workload) bool {
					return labels.SelectorFromSet(wanted).Matches(labels.Set(w.Template.Labels))
				}) {
					find([]*corev1.Service{s}, "destination-subset", o, "", "subset %v has the labels %v, which no pod of Service/%s has: calls that a route sends to it fail", subset["name"], wanted, s.Name)
				}
			}
		}
	}
}

// destinationRules returns Istio's rules about a Service.
func (c *Cluster) destinationRules(s *corev1.Service) []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, o := range manifest.All[*unstructured.Unstructured](c.objects) {
		if o.GroupVersionKind().Group != "networking.istio.io" || o.GetKind() != "DestinationRule" {
			continue
		}
		host, _, _ := unstructured.NestedString(o.Object, "spec", "host")
		name, problem := Target{Scheme: "dns", Host: host}.serviceName(o.GetNamespace())
		if problem == "" && c.service(name.service, name.namespace) == s {
			all = append(all, o)
		}
	}
	return all
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
	for _, a := range manifest.Autoscalers(c.objects) {
		for _, w := range c.workloads {
			if pinned[w.Object] && a.Scales(w) {
				find(before[w.Object], "autoscaler-pinned", a.Object, "", "it scales %s, whose clients stay on one pod: new pods get no calls, so the average stays below the target", manifest.Describe(w.Object))
			}
		}
	}
}

// objectsIn returns the objects of a list in an object.
func objectsIn(object map[string]any, fields ...string) []map[string]any {
	list, _, _ := unstructured.NestedSlice(object, fields...)
	var all []map[string]any
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}
