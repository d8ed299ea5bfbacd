package balance

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Backend is a port of a Service that is known to be gRPC's.
type Backend struct {
	namespace, service string
	port               int64
}

// routed returns the backends of all GRPCRoutes.
// Source: the API reference of GRPCRoute, gateway.networking.k8s.io/v1.
func routed(routes []*gatewayv1.GRPCRoute) map[Backend]bool {
	all := map[Backend]bool{}
	for _, r := range routes {
		for _, to := range backends(r) {
			all[Backend{within(to.Namespace, r), string(to.Name), int64(valueOf(to.Port))}] = true
		}
	}
	return all
}

// gatewayLabel is on all that an implementation makes of a Gateway, its pods too.
// Source: GEP-1762.
const gatewayLabel = "gateway.networking.k8s.io/gateway-name"

// istioAdmin is the port of the admin interface of Istio's proxies.
const istioAdmin = 15000

// gatewayNamed returns the Gateway whose proxy has a Service of that name, or nil. Only a
// cluster has that Service.
// Source: GEP-1762, which recommends the name GATEWAY-CLASS.
func (c *Cluster) gatewayNamed(name serviceName) *gatewayv1.Gateway {
	for _, g := range c.gateways {
		if sameNamespace(g.Namespace, name.namespace) && serviceOf(g) == name.service {
			return g
		}
	}
	return nil
}

func serviceOf(g *gatewayv1.Gateway) string { return g.Name + "-" + string(g.Spec.GatewayClassName) }

// gatewayBehind returns the Gateway whose proxy's pods a Service selects, or nil.
func (c *Cluster) gatewayBehind(s *corev1.Service) *gatewayv1.Gateway {
	name := s.Spec.Selector[gatewayLabel]
	i := slices.IndexFunc(c.gateways, func(g *gatewayv1.Gateway) bool {
		return name != "" && g.Name == name && sameNamespace(g.Namespace, s.Namespace)
	})
	if i < 0 {
		return nil
	}
	return c.gateways[i]
}

// leadToListener follows a port of a Gateway's proxy, whose Service is nil before an
// implementation has made it.
func leadToListener(g *gatewayv1.Gateway, s *corev1.Service, port string) end {
	number, err := strconv.ParseInt(port, 10, 32)
	var ports []string
	for _, l := range g.Spec.Listeners {
		if err == nil && int64(l.Port) == number {
			return end{service: s, gateway: g, listener: l.Port}
		}
		ports = append(ports, fmt.Sprintf("%d (%s)", l.Port, l.Name))
	}
	return end{service: s, problem: fmt.Sprintf("Gateway/%s has no listener at port %s, expected %s", g.Name, port, strings.Join(ports, " or "))}
}

// proxyOf is the pods that an implementation makes of a Gateway, as far as is known.
func proxyOf(g *gatewayv1.Gateway) manifest.Workload {
	set := map[string]string{gatewayLabel: g.Name}
	if g.Spec.Infrastructure != nil {
		for key, value := range g.Spec.Infrastructure.Labels {
			set[string(key)] = string(value)
		}
	}
	return manifest.Workload{Object: g, Template: &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: set}}}
}

// throughGateway judges a client that calls the proxy of a Gateway: each proxy chooses for
// each call, among the pods of the Services to which its routes lead.
func (c *Cluster) throughGateway(p *Path, e end) {
	g, port := e.gateway, e.listener
	var most int32
	var servicePort corev1.ServicePort
	var meant *corev1.Service // that no call reaches
	for _, r := range c.routes {
		if !c.attaches(r, g, port) {
			continue
		}
		for _, to := range backends(r) {
			s, at, problem := c.backend(r, to)
			if problem != "" && s != nil {
				meant = s
			}
			if weight := weightOf(to); problem == "" && s != nil && weight > most {
				p.Service, servicePort, most = s, at, weight
			}
		}
	}
	switch others := c.otherRoutes(g); {
	case p.Service == nil && others != "":
		p.Because = fmt.Sprintf("%s leads on from Gateway/%s, which is not judged", others, g.Name)
		return
	case p.Service == nil:
		p.Verdict, p.Service = Unreachable, meant
		p.find("grpc-route", g, "", "no GRPCRoute leads from its port %d to a Service", port)
		return
	}
	p.Servers = c.Selected(p.Service)
	p.Verdict, p.Chooser, p.Among, p.NewPods = Balanced, manifest.Describe(g), "the ready pods", atOnce
	if len(p.Servers) == 0 && len(p.Service.Spec.Selector) > 0 && !c.live {
		p.Verdict, p.Because = Undecided, "Service/"+p.Service.Name+" selects the pods of no workload among the objects"
	}
	proxy := proxyOf(g)
	if e.service != nil && len(c.Selected(e.service)) > 0 {
		proxy = c.Selected(e.service)[0]
		p.Through, p.Proxy = e.service, proxy
		if slices.ContainsFunc(proxy.Containers(), func(c corev1.Container) bool { return c.Name == istioProxy }) {
			p.ProxyAdmin = istioAdmin
		}
	}
	c.networkPolicies(p, p.Client.Pods, []manifest.Workload{proxy}, intstr.FromInt32(port))
	c.networkPolicies(p, proxy, p.Servers, targetPort(servicePort))
	c.unmet(p, p.Client.Pods, needsOf(p.Client))
	c.unmet(p, proxy, []need{dnsNeed})
	if g.Spec.GatewayClassName == "istio" {
		c.unmet(p, proxy, []need{istiodNeed})
	}
}

// otherRoutes names a route of another kind that has the Gateway as a parent, or is "".
func (c *Cluster) otherRoutes(g *gatewayv1.Gateway) string {
	for _, r := range manifest.All[*gatewayv1.HTTPRoute](c.objects) {
		for _, parent := range r.Spec.ParentRefs {
			if !isService(parent) && string(parent.Name) == g.Name && sameNamespace(within(parent.Namespace, r), g.Namespace) {
				return manifest.Describe(r)
			}
		}
	}
	return ""
}

// attaches says whether a route takes calls that reach a port of a Gateway.
func (c *Cluster) attaches(r *gatewayv1.GRPCRoute, g *gatewayv1.Gateway, port gatewayv1.PortNumber) bool {
	return slices.ContainsFunc(r.Spec.ParentRefs, func(parent gatewayv1.ParentReference) bool {
		return !isService(parent) && string(parent.Name) == g.Name && sameNamespace(within(parent.Namespace, r), g.Namespace) &&
			slices.ContainsFunc(g.Spec.Listeners, func(l gatewayv1.Listener) bool {
				return l.Port == port && means(parent, l) && c.refuses(l, g, r) == ""
			})
	})
}

// means says whether a reference is to the listener, or to all.
func means(parent gatewayv1.ParentReference, l gatewayv1.Listener) bool {
	return (parent.SectionName == nil || *parent.SectionName == l.Name) && (parent.Port == nil || *parent.Port == l.Port)
}

// refuses says why a listener takes no route of the kind or the namespace, or is "". It
// gives a namespace whose labels are not known the benefit of the doubt.
func (c *Cluster) refuses(l gatewayv1.Listener, g *gatewayv1.Gateway, r *gatewayv1.GRPCRoute) string {
	if l.Protocol != gatewayv1.HTTPProtocolType && l.Protocol != gatewayv1.HTTPSProtocolType {
		return fmt.Sprintf("listener %s has protocol %s, expected HTTP or HTTPS", l.Name, l.Protocol)
	}
	allowed := l.AllowedRoutes
	if allowed == nil {
		allowed = &gatewayv1.AllowedRoutes{}
	}
	if len(allowed.Kinds) > 0 && !slices.ContainsFunc(allowed.Kinds, func(k gatewayv1.RouteGroupKind) bool { return k.Kind == "GRPCRoute" }) {
		return fmt.Sprintf("listener %s allows no GRPCRoute", l.Name)
	}
	if sameNamespace(g.Namespace, r.Namespace) {
		return ""
	}
	from, selector := gatewayv1.NamespacesFromSame, (*metav1.LabelSelector)(nil)
	if n := allowed.Namespaces; n != nil {
		selector = n.Selector
		if n.From != nil {
			from = *n.From
		}
	}
	namespace := c.namespace(r)
	switch {
	case from == gatewayv1.NamespacesFromAll:
		return ""
	case from == gatewayv1.NamespacesFromSelector && selector != nil && (namespace == nil || selects(selector, namespace.Labels)):
		return ""
	}
	return fmt.Sprintf("listener %s allows no route of namespace %q", l.Name, r.Namespace)
}

// backend follows a backend of a route to a Service's port. The problem says why no call
// gets there, or is ""; without a Service, the backend may be of a kind that is not judged.
func (c *Cluster) backend(r *gatewayv1.GRPCRoute, to gatewayv1.GRPCBackendRef) (s *corev1.Service, port corev1.ServicePort, problem string) {
	if valueOf(to.Group) != "" || cmp.Or(valueOf(to.Kind), "Service") != "Service" {
		return nil, port, ""
	}
	namespace := within(to.Namespace, r)
	s = c.service(string(to.Name), namespace)
	switch {
	case !sameNamespace(namespace, r.Namespace) && (s != nil || c.complete()) && !c.grants(r, to):
		return s, port, fmt.Sprintf("no ReferenceGrant of namespace %q lets a GRPCRoute of namespace %q name its Service %q", namespace, r.Namespace, to.Name)
	case s == nil && c.complete() && c.knows(namespace):
		return nil, port, fmt.Sprintf("namespace %q has no Service %q", namespace, to.Name)
	case s == nil:
		return nil, port, ""
	}
	number := valueOf(to.Port)
	i := slices.IndexFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == number })
	if i < 0 {
		return s, port, fmt.Sprintf("Service/%s has no port %d, expected %s", s.Name, number, portList(s.Spec.Ports))
	}
	return s, s.Spec.Ports[i], ""
}

// complete says whether an object that is not among the objects is nowhere: those of an
// overlay and of a cluster are, those of a file may not be all.
func (c *Cluster) complete() bool { return c.contract || c.live }

// knows says whether the Services of a namespace are among the objects.
func (c *Cluster) knows(namespace string) bool {
	return c.contract || slices.ContainsFunc(manifest.All[*corev1.Service](c.objects), func(s *corev1.Service) bool { return sameNamespace(s.Namespace, namespace) })
}

// grants says whether a ReferenceGrant lets a route name a Service of another namespace.
// Source: the API reference of ReferenceGrant.
func (c *Cluster) grants(r *gatewayv1.GRPCRoute, to gatewayv1.GRPCBackendRef) bool {
	return slices.ContainsFunc(manifest.All[*gatewayv1.ReferenceGrant](c.objects), func(g *gatewayv1.ReferenceGrant) bool {
		return sameNamespace(g.Namespace, within(to.Namespace, r)) &&
			slices.ContainsFunc(g.Spec.From, func(f gatewayv1.ReferenceGrantFrom) bool {
				return f.Group == gatewayv1.GroupName && f.Kind == "GRPCRoute" && string(f.Namespace) == r.Namespace
			}) &&
			slices.ContainsFunc(g.Spec.To, func(t gatewayv1.ReferenceGrantTo) bool {
				return t.Group == "" && t.Kind == "Service" && (t.Name == nil || *t.Name == to.Name)
			})
	})
}

// grpcRoutes finds GRPCRoutes that no parent takes, and backends that get no call.
func (c *Cluster) grpcRoutes(find findFunc) {
	for _, r := range c.routes {
		var about []*corev1.Service
		for _, to := range backends(r) {
			s, _, problem := c.backend(r, to)
			if s != nil {
				about = append(about, s)
			}
			if problem != "" {
				find(about, "grpc-route", r, string(to.Name), "backend %s: %s", to.Name, problem)
			}
		}
		for _, parent := range r.Spec.ParentRefs {
			if problem := c.parent(r, parent); problem != "" {
				find(about, "grpc-route", r, string(parent.Name), "parent %s: %s", parent.Name, problem)
			}
		}
		if len(r.Spec.ParentRefs) == 0 {
			find(about, "grpc-route", r, "", "it has no parent: expected parentRefs with a Gateway, or with a Service in a mesh")
		}
	}
}

// parent says why a parent takes no call for a route, or is "".
func (c *Cluster) parent(r *gatewayv1.GRPCRoute, parent gatewayv1.ParentReference) string {
	namespace := within(parent.Namespace, r)
	if isService(parent) {
		s := c.service(string(parent.Name), namespace)
		switch {
		case s == nil && c.complete() && c.knows(namespace):
			return fmt.Sprintf("namespace %q has no Service of the name", namespace)
		case s != nil && parent.Port != nil && !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == *parent.Port }):
			return fmt.Sprintf("Service/%s has no port %d, expected %s", s.Name, *parent.Port, portList(s.Spec.Ports))
		}
		return ""
	}
	i := slices.IndexFunc(c.gateways, func(g *gatewayv1.Gateway) bool {
		return g.Name == string(parent.Name) && sameNamespace(g.Namespace, namespace)
	})
	if i < 0 {
		if c.contract {
			return fmt.Sprintf("namespace %q has no Gateway of the name", namespace)
		}
		return ""
	}
	problem := "the Gateway has no listener that the reference means"
	for _, l := range c.gateways[i].Spec.Listeners {
		if means(parent, l) {
			if problem = c.refuses(l, c.gateways[i], r); problem == "" {
				return ""
			}
		}
	}
	return problem
}

// isService says whether a parent is a Service: then a mesh's proxies follow the route.
func isService(parent gatewayv1.ParentReference) bool {
	return valueOf(parent.Group) == "" && parent.Group != nil && valueOf(parent.Kind) == "Service"
}

// within returns the namespace of a reference, which by default is that of the object.
func within(namespace *gatewayv1.Namespace, o manifest.Object) string {
	return cmp.Or(string(valueOf(namespace)), o.GetNamespace())
}

func backends(r *gatewayv1.GRPCRoute) (all []gatewayv1.GRPCBackendRef) {
	for _, rule := range r.Spec.Rules {
		all = append(all, rule.BackendRefs...)
	}
	return all
}

// weightOf is 1 if a backend has none.
func weightOf(to gatewayv1.GRPCBackendRef) int32 {
	if to.Weight == nil {
		return 1
	}
	return *to.Weight
}

// valueOf returns what a pointer points to, or the zero value.
func valueOf[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}
