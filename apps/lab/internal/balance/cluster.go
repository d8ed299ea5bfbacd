package balance

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Cluster is the objects that are judged together.
type Cluster struct {
	objects   []manifest.Object
	workloads []manifest.Workload
	live      bool // pods show what meshes added
}

// New returns a cluster to which the objects will be applied.
func New(objects []manifest.Object) *Cluster {
	return &Cluster{objects: objects, workloads: manifest.Workloads(objects)}
}

// Live returns a cluster that has the objects. Its workloads are made of pods, so what a
// mesh added is there, or was not added.
func Live(objects []manifest.Object) *Cluster {
	c := New(objects)
	c.live = true
	return c
}

// sameNamespace says whether two objects are in one namespace. A rendered object
// without a namespace gets one when it is applied, so it can be in any.
func sameNamespace(a, b string) bool { return a == b || a == "" || b == "" }

// service returns the Service of that name, or nil.
func (c *Cluster) service(name, namespace string) *corev1.Service {
	for _, s := range manifest.All[*corev1.Service](c.objects) {
		if s.Name == name && sameNamespace(s.Namespace, namespace) {
			return s
		}
	}
	return nil
}

// serviceAt returns the Service that has the cluster IP, or nil.
func (c *Cluster) serviceAt(ip string) *corev1.Service {
	for _, s := range manifest.All[*corev1.Service](c.objects) {
		if s.Spec.ClusterIP == ip || slices.Contains(s.Spec.ClusterIPs, ip) {
			return s
		}
	}
	return nil
}

// Selected returns the workloads whose pods the Service selects.
func (c *Cluster) Selected(s *corev1.Service) []manifest.Workload {
	var found []manifest.Workload
	for _, w := range c.workloads {
		if len(s.Spec.Selector) > 0 && sameNamespace(s.Namespace, w.GetNamespace()) &&
			labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(w.Template.Labels)) {
			found = append(found, w)
		}
	}
	return found
}

// namespace returns the Namespace of an object, or nil if it is not among the
// objects.
func (c *Cluster) namespace(o manifest.Object) *corev1.Namespace {
	for _, n := range manifest.All[*corev1.Namespace](c.objects) {
		if n.Name == o.GetNamespace() {
			return n
		}
	}
	return nil
}

// Headless says whether the Service's name gives the addresses of its pods.
func Headless(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }

// targetPort returns the port of the pods to which a port of the Service leads.
func targetPort(p corev1.ServicePort) intstr.IntOrString {
	if p.TargetPort == (intstr.IntOrString{}) {
		return intstr.FromInt32(p.Port)
	}
	return p.TargetPort
}

// speaksGRPC says whether a Service's port names gRPC or HTTP/2 as its protocol.
func speaksGRPC(p corev1.ServicePort) bool {
	if p.AppProtocol != nil {
		return isGRPC(*p.AppProtocol)
	}
	return named(p.Name, "grpc", "h2c", "http2")
}

func isGRPC(appProtocol string) bool {
	return slices.Contains([]string{"grpc", "h2c", "http2", "kubernetes.io/h2c"}, strings.ToLower(appProtocol))
}

// named says whether a port's name is one of the protocols, or starts with one and
// a hyphen, as Istio reads it.
func named(port string, protocols ...string) bool {
	prefix, _, _ := strings.Cut(port, "-")
	return slices.Contains(protocols, prefix)
}

// servesGRPC says whether pods serve gRPC at the port: a probe or the port's name
// says so.
func servesGRPC(w manifest.Workload, port intstr.IntOrString) bool {
	for _, container := range w.Containers() {
		for _, p := range container.Ports {
			if (port.Type == intstr.Int && p.ContainerPort == port.IntVal || port.Type == intstr.String && p.Name == port.StrVal) &&
				(named(p.Name, "grpc") || probesGRPC(container, p.ContainerPort)) {
				return true
			}
		}
	}
	return false
}

func probesGRPC(c corev1.Container, port int32) bool {
	for _, probe := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe, c.StartupProbe} {
		if probe != nil && probe.GRPC != nil && probe.GRPC.Port == port {
			return true
		}
	}
	return false
}

// IsGRPC says whether a port of the Service leads to gRPC servers.
func (c *Cluster) IsGRPC(s *corev1.Service, p corev1.ServicePort) bool {
	return speaksGRPC(p) || slices.ContainsFunc(c.Selected(s), func(w manifest.Workload) bool { return servesGRPC(w, targetPort(p)) })
}

// Services returns the Services that lead to gRPC servers, sorted by namespace and
// name.
func (c *Cluster) Services() []*corev1.Service {
	found := slices.DeleteFunc(manifest.All[*corev1.Service](c.objects), func(s *corev1.Service) bool {
		return !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return c.IsGRPC(s, p) })
	})
	slices.SortFunc(found, func(a, b *corev1.Service) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return found
}
