package balance

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Cluster is the objects that are judged together. It is not safe for concurrent use.
type Cluster struct {
	objects   []manifest.Object
	workloads []manifest.Workload
	live      bool // pods show what meshes added
	contract  bool // the objects are an overlay's, whose labels have the lab's meaning

	// What is looked up often, because a cluster can have thousands of each.
	services   map[string][]*corev1.Service // by name
	configMaps map[string][]*corev1.ConfigMap
	secrets    map[string][]*corev1.Secret
	namespaces map[string][]*corev1.Namespace
	selected   map[*corev1.Service][]manifest.Workload
	variables  map[string]map[string]variable // of Services, by namespace
	routed     map[Backend]bool               // by GRPCRoutes, or known otherwise
	gateways   []*gatewayv1.Gateway
	routes     []*gatewayv1.GRPCRoute
	paths      []Path
}

// New returns a cluster to which the objects of an overlay will be applied.
func New(objects []manifest.Object) *Cluster {
	c := Foreign(objects)
	c.contract = true
	return c
}

// Foreign returns a cluster to which objects of any origin will be applied.
func Foreign(objects []manifest.Object) *Cluster {
	c := &Cluster{
		objects: objects, workloads: manifest.Workloads(objects),
		services: byName[*corev1.Service](objects), configMaps: byName[*corev1.ConfigMap](objects),
		secrets: byName[*corev1.Secret](objects), namespaces: byName[*corev1.Namespace](objects),
		variables: map[string]map[string]variable{},
	}
	c.gateways, c.routes = manifest.All[*gatewayv1.Gateway](objects), manifest.All[*gatewayv1.GRPCRoute](objects)
	c.routed = routed(c.routes)
	c.selected = selected(manifest.All[*corev1.Service](objects), c.workloads)
	return c
}

func byName[T manifest.Object](objects []manifest.Object) map[string][]T {
	all := map[string][]T{}
	for _, o := range manifest.All[T](objects) {
		all[o.GetName()] = append(all[o.GetName()], o)
	}
	return all
}

// in returns the first of the objects of one name that is in the namespace.
func in[T manifest.Object](named []T, namespace string) (found T) {
	if i := slices.IndexFunc(named, func(o T) bool { return sameNamespace(o.GetNamespace(), namespace) }); i >= 0 {
		return named[i]
	}
	return found
}

// selected returns the workloads whose pods each Service selects. One label of the
// selector narrows down the workloads that are compared.
func selected(services []*corev1.Service, workloads []manifest.Workload) map[*corev1.Service][]manifest.Workload {
	type label struct{ key, value string }
	having := map[label][]manifest.Workload{}
	for _, w := range workloads {
		for key, value := range w.Template.Labels {
			having[label{key, value}] = append(having[label{key, value}], w)
		}
	}
	found := map[*corev1.Service][]manifest.Workload{}
	for _, s := range services {
		var fewest []manifest.Workload
		first := true
		for key, value := range s.Spec.Selector {
			if candidates := having[label{key, value}]; first || len(candidates) < len(fewest) {
				fewest, first = candidates, false
			}
		}
		selector := labels.SelectorFromSet(s.Spec.Selector)
		for _, w := range fewest {
			if sameNamespace(s.Namespace, w.GetNamespace()) && selector.Matches(labels.Set(w.Template.Labels)) {
				found[s] = append(found[s], w)
			}
		}
	}
	return found
}

// Live returns a cluster that has the objects. Its workloads are made of pods, so what a
// mesh added is there, or was not added. It is known of some backends that they are gRPC's.
func Live(objects []manifest.Object, known ...Backend) *Cluster {
	c := Foreign(objects)
	c.live = true
	for _, b := range known {
		c.routed[b] = true
	}
	return c
}

// sameNamespace says whether two objects are in one namespace. A rendered object
// without a namespace gets one when it is applied, so it can be in any.
func sameNamespace(a, b string) bool { return a == b || a == "" || b == "" }

// service returns the Service of that name, or nil.
func (c *Cluster) service(name, namespace string) *corev1.Service {
	return in(c.services[name], namespace)
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
func (c *Cluster) Selected(s *corev1.Service) []manifest.Workload { return c.selected[s] }

// ServicesOf returns the Services that select the workload's pods.
func (c *Cluster) ServicesOf(w manifest.Workload) []*corev1.Service {
	return slices.DeleteFunc(manifest.All[*corev1.Service](c.objects), func(s *corev1.Service) bool {
		return !slices.ContainsFunc(c.selected[s], func(selected manifest.Workload) bool { return selected.Object == w.Object })
	})
}

// namespace returns the Namespace of an object, or nil if it is not among the
// objects.
func (c *Cluster) namespace(o manifest.Object) *corev1.Namespace {
	if named := c.namespaces[o.GetNamespace()]; len(named) > 0 {
		return named[0]
	}
	return nil
}

// Headless says whether the Service's name gives the addresses of its pods.
func Headless(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }

// speaksGRPC says whether a Service's port names gRPC or HTTP/2 as its protocol. That
// appProtocol is https says no more than that it is within TLS.
func speaksGRPC(p corev1.ServicePort) bool {
	if p.AppProtocol != nil && !strings.EqualFold(*p.AppProtocol, "https") {
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
			if manifest.IsPort(p, port) &&
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

// IsGRPC says whether a port of the Service leads to gRPC servers: its name, its
// appProtocol, a GRPCRoute of the Gateway API, or the pods' ports and probes say so.
func (c *Cluster) IsGRPC(s *corev1.Service, p corev1.ServicePort) bool {
	return speaksGRPC(p) || c.routed[Backend{s.Namespace, s.Name, int64(p.Port)}] || slices.ContainsFunc(c.Selected(s), func(w manifest.Workload) bool { return servesGRPC(w, manifest.TargetPort(p)) })
}

// DialPort returns the port at which a client of the Service's name reaches its gRPC
// servers, or 0 if the objects do not show it.
func (c *Cluster) DialPort(s *corev1.Service) int {
	i := slices.IndexFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return c.IsGRPC(s, p) })
	if i < 0 {
		return 0
	}
	if p := s.Spec.Ports[i]; !Headless(s) {
		return int(p.Port)
	}
	for _, n := range podNumbers(c.Selected(s), manifest.TargetPort(s.Spec.Ports[i])) {
		return int(n)
	}
	return 0
}

// Unmarked is a port of a Service that nothing marks as gRPC's.
type Unmarked struct {
	Backend
	Servers []manifest.Workload
	Number  int // of the port in the pods
}

// Unmarked returns the TCP ports of Services that nothing marks as gRPC's, and whose pods
// are known.
func (c *Cluster) Unmarked() []Unmarked {
	var all []Unmarked
	for _, s := range manifest.All[*corev1.Service](c.objects) {
		for _, p := range s.Spec.Ports {
			servers := c.Selected(s)
			if numbers := podNumbers(servers, manifest.TargetPort(p)); len(servers) > 0 && len(numbers) > 0 && protocol(p) == string(corev1.ProtocolTCP) && !c.IsGRPC(s, p) {
				all = append(all, Unmarked{Backend{s.Namespace, s.Name, int64(p.Port)}, servers, int(numbers[0])})
			}
		}
	}
	return all
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
