package balance

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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

// otherRoutes names a route of another kind that has the Gateway as a parent, or is "".
func (c *Cluster) otherRoutes(g *gatewayv1.Gateway) string {
	for _, o := range c.objects {
		if kind := o.GetObjectKind().GroupVersionKind(); kind.Group != gatewayv1.GroupName || kind.Kind == "GRPCRoute" {
			continue
		}
		for _, parent := range parentsOf(o) {
			if names(parent, o, g) {
				return manifest.Describe(o)
			}
		}
	}
	return ""
}

// parentsOf returns the parents of a route of any kind.
func parentsOf(o manifest.Object) []gatewayv1.ParentReference {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil
	}
	var route struct {
		Spec gatewayv1.CommonRouteSpec `json:"spec"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &route); err != nil {
		return nil
	}
	return route.Spec.ParentRefs
}

// names says whether a parent of a route is the Gateway.
func names(parent gatewayv1.ParentReference, route manifest.Object, g *gatewayv1.Gateway) bool {
	return isGateway(parent) && string(parent.Name) == g.Name && sameNamespace(within(parent.Namespace, route), g.Namespace)
}

// attaches says whether a route takes calls that reach a port of a Gateway.
func (c *Cluster) attaches(r *gatewayv1.GRPCRoute, g *gatewayv1.Gateway, port gatewayv1.PortNumber) bool {
	return slices.ContainsFunc(g.Spec.Listeners, func(l gatewayv1.Listener) bool { return l.Port == port && c.takes(l, g, routeOf(r)) })
}

// route is what a listener looks at in a GRPCRoute or an HTTPRoute.
type route struct {
	manifest.Object
	kind    string
	parents []gatewayv1.ParentReference
	hosts   []gatewayv1.Hostname
}

func routeOf(r *gatewayv1.GRPCRoute) route {
	return route{r, "GRPCRoute", r.Spec.ParentRefs, r.Spec.Hostnames}
}

// takes says whether a listener takes the calls of a route.
func (c *Cluster) takes(l gatewayv1.Listener, g *gatewayv1.Gateway, r route) bool {
	return c.refuses(l, g, r) == "" && slices.ContainsFunc(r.parents, func(parent gatewayv1.ParentReference) bool {
		return names(parent, r, g) && means(parent, l)
	})
}

// means says whether a reference is to the listener, or to all.
func means(parent gatewayv1.ParentReference, l gatewayv1.Listener) bool {
	return (parent.SectionName == nil || *parent.SectionName == l.Name) && (parent.Port == nil || *parent.Port == l.Port)
}

// refuses says why a listener takes no route of the kind, the namespace or the hostnames, or
// is "". It gives a namespace whose labels are not known the benefit of the doubt.
func (c *Cluster) refuses(l gatewayv1.Listener, g *gatewayv1.Gateway, r route) string {
	if l.Protocol != gatewayv1.HTTPProtocolType && l.Protocol != gatewayv1.HTTPSProtocolType {
		return fmt.Sprintf("listener %s has protocol %s, expected HTTP or HTTPS", l.Name, l.Protocol)
	}
	allowed := l.AllowedRoutes
	if allowed == nil {
		allowed = &gatewayv1.AllowedRoutes{}
	}
	if len(allowed.Kinds) > 0 && !slices.ContainsFunc(allowed.Kinds, func(k gatewayv1.RouteGroupKind) bool { return string(k.Kind) == r.kind }) {
		return fmt.Sprintf("listener %s allows no %s", l.Name, r.kind)
	}
	if len(r.hosts) > 0 && len(common(r.hosts, l.Hostname)) == 0 {
		return fmt.Sprintf("listener %s has hostname %s, which matches none of the route's: %s", l.Name, valueOf(l.Hostname), hostList(r.hosts))
	}
	from, selector := gatewayv1.NamespacesFromSame, (*metav1.LabelSelector)(nil)
	if n := allowed.Namespaces; n != nil {
		selector = n.Selector
		if n.From != nil {
			from = *n.From
		}
	}
	namespace := r.GetNamespace()
	switch {
	case from == gatewayv1.NamespacesFromAll:
		return ""
	case from == gatewayv1.NamespacesFromSame && sameNamespace(g.Namespace, namespace):
		return ""
	case from == gatewayv1.NamespacesFromSelector && selector != nil && (namespace == "" || c.mayMean(selector, namespace)):
		return ""
	}
	whose := string(from)
	if from == gatewayv1.NamespacesFromSelector && selector != nil {
		whose = "namespaces with " + metav1.FormatLabelSelector(selector)
	}
	return fmt.Sprintf("listener %s allows routes from %s, and the route is of namespace %q", l.Name, whose, namespace)
}

// common returns the hostnames that a listener and a route have in common. Without any of
// its own, a listener has all those of the route.
func common(hosts []gatewayv1.Hostname, of *gatewayv1.Hostname) []gatewayv1.Hostname {
	if valueOf(of) == "" {
		return hosts
	}
	if len(hosts) == 0 {
		return []gatewayv1.Hostname{*of}
	}
	return slices.DeleteFunc(slices.Clone(hosts), func(h gatewayv1.Hostname) bool { return !intersect(string(h), string(*of)) })
}

// intersect says whether a name is both hostnames, each of which can begin with *.
func intersect(a, b string) bool {
	covers := func(wildcard, name string) bool {
		suffix, ok := strings.CutPrefix(wildcard, "*")
		return ok && strings.HasSuffix(name, suffix)
	}
	a, b = strings.ToLower(a), strings.ToLower(b)
	return a == b || covers(a, b) || covers(b, a)
}

// hostsAt returns the hostnames that a route takes at a port of a Gateway, or nil if it
// takes all.
func (c *Cluster) hostsAt(r *gatewayv1.GRPCRoute, g *gatewayv1.Gateway, port gatewayv1.PortNumber) []gatewayv1.Hostname {
	var all []gatewayv1.Hostname
	for _, l := range g.Spec.Listeners {
		if l.Port != port || !c.takes(l, g, routeOf(r)) {
			continue
		}
		hosts := common(r.Spec.Hostnames, l.Hostname)
		if len(hosts) == 0 {
			return []gatewayv1.Hostname{"*"}
		}
		all = append(all, hosts...)
	}
	return all
}

func hostList(hosts []gatewayv1.Hostname) string {
	var all []string
	for _, h := range hosts {
		all = append(all, string(h))
	}
	return strings.Join(all, " or ")
}

// rival returns an HTTPRoute that is for a hostname of the route at each listener of the
// Gateway that takes the route, and one of these listeners, or nil.
func (c *Cluster) rival(r *gatewayv1.GRPCRoute, g *gatewayv1.Gateway) (found *gatewayv1.HTTPRoute, at gatewayv1.SectionName) {
	for _, l := range g.Spec.Listeners {
		if !c.takes(l, g, routeOf(r)) {
			continue
		}
		if found, at = c.rivalAt(l, g, r), l.Name; found == nil {
			return nil, ""
		}
	}
	return found, at
}

func (c *Cluster) rivalAt(l gatewayv1.Listener, g *gatewayv1.Gateway, r *gatewayv1.GRPCRoute) *gatewayv1.HTTPRoute {
	own := common(r.Spec.Hostnames, l.Hostname)
	for _, h := range manifest.All[*gatewayv1.HTTPRoute](c.objects) {
		its := common(h.Spec.Hostnames, l.Hostname)
		same := len(own) == 0 || len(its) == 0 || slices.ContainsFunc(own, func(h gatewayv1.Hostname) bool { return len(common(its, &h)) > 0 })
		if same && c.takes(l, g, route{h, "HTTPRoute", h.Spec.ParentRefs, h.Spec.Hostnames}) {
			return h
		}
	}
	return nil
}

// backend follows a backend of a route to a Service's port. The problem says why no call
// gets there, or is ""; without a Service, the backend may be of a kind that is not judged.
func (c *Cluster) backend(r *gatewayv1.GRPCRoute, to gatewayv1.GRPCBackendRef) (s *corev1.Service, port corev1.ServicePort, problem string) {
	if !isCore(to) {
		return nil, port, ""
	}
	namespace := within(to.Namespace, r)
	s = c.service(string(to.Name), namespace)
	other := c.inOtherNamespace(string(to.Name)) // if the namespace has none
	switch {
	case !sameNamespace(namespace, r.Namespace) && (s != nil || c.contract) && !c.grants("GRPCRoute", r.Namespace, "Service", string(to.Name), namespace):
		return s, port, fmt.Sprintf("no ReferenceGrant of namespace %q lets a GRPCRoute of namespace %q name its Service %q", namespace, r.Namespace, to.Name)
	case s == nil && other != nil && c.knows(namespace):
		return nil, port, fmt.Sprintf("namespace %q has no Service %q; namespace %q has one: name that namespace, and let a ReferenceGrant there admit it", namespace, to.Name, other.Namespace)
	case s == nil && c.complete() && c.knows(namespace):
		return nil, port, fmt.Sprintf("namespace %q has no Service %q", namespace, to.Name)
	case s == nil:
		return nil, port, ""
	}
	if to.Port == nil {
		return s, port, "it names no port of the Service, expected " + portList(s.Spec.Ports)
	}
	number := *to.Port
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

// grants says whether a ReferenceGrant lets a kind of the Gateway API name an object of
// another namespace, such as a Service of the group "".
// Source: the API reference of ReferenceGrant.
func (c *Cluster) grants(kind, from, to, name, namespace string) bool {
	return slices.ContainsFunc(manifest.All[*gatewayv1.ReferenceGrant](c.objects), func(g *gatewayv1.ReferenceGrant) bool {
		return sameNamespace(g.Namespace, namespace) &&
			slices.ContainsFunc(g.Spec.From, func(f gatewayv1.ReferenceGrantFrom) bool {
				return f.Group == gatewayv1.GroupName && string(f.Kind) == kind && string(f.Namespace) == from
			}) &&
			slices.ContainsFunc(g.Spec.To, func(t gatewayv1.ReferenceGrantTo) bool {
				return t.Group == "" && string(t.Kind) == to && (t.Name == nil || string(*t.Name) == name)
			})
	})
}

// Route is where a GRPCRoute leads from, and to.
type Route struct {
	Object   *gatewayv1.GRPCRoute
	From, To []string // as kubectl names objects
	// Unknown says what is not among the objects, and may be elsewhere.
	Unknown []string
}

// Routes returns where the GRPCRoutes lead among the objects.
func (c *Cluster) Routes() []Route {
	var all []Route
	for _, r := range c.routes {
		found := Route{Object: r}
		for _, parent := range r.Spec.ParentRefs {
			kind, namespace := cmp.Or(string(valueOf(parent.Kind)), "Gateway"), within(parent.Namespace, r)
			found.From = append(found.From, kind+"/"+string(parent.Name))
			beside := slices.ContainsFunc(c.gateways, func(g *gatewayv1.Gateway) bool { return sameNamespace(g.Namespace, namespace) })
			if isGateway(parent) && beside && !slices.ContainsFunc(c.gateways, func(g *gatewayv1.Gateway) bool { return names(parent, r, g) }) {
				found.Unknown = append(found.Unknown, missing("Gateway", parent.Name, namespace))
			}
		}
		for _, to := range backends(r) {
			s, _, problem := c.backend(r, to)
			switch {
			case s != nil:
				if name := manifest.Describe(s); !slices.Contains(found.To, name) {
					found.To = append(found.To, name)
				}
			case problem == "" && isCore(to):
				found.Unknown = append(found.Unknown, missing("Service", to.Name, within(to.Namespace, r)))
			}
		}
		all = append(all, found)
	}
	return all
}

func missing(kind string, name gatewayv1.ObjectName, namespace string) string {
	if namespace != "" {
		namespace = fmt.Sprintf(" in namespace %q", namespace)
	}
	return fmt.Sprintf("no %s %q%s is among the objects", kind, name, namespace)
}

// besideInMesh returns where routes of a mesh lead calls to a Service beside itself.
// Source: GEP-1426, xRoutes for mesh.
func (c *Cluster) besideInMesh(s *corev1.Service) []end {
	var all []end
	for _, r := range c.routes {
		if !slices.ContainsFunc(r.Spec.ParentRefs, func(parent gatewayv1.ParentReference) bool {
			return isService(parent) && c.service(string(parent.Name), within(parent.Namespace, r)) == s
		}) {
			continue
		}
		for _, to := range backends(r) {
			if other, port, problem := c.backend(r, to); problem == "" && other != nil && other != s && weightOf(to) > 0 {
				all = append(all, end{service: other, port: port})
			}
		}
	}
	return all
}

// isCore says whether a backend is a Service, which is the default.
func isCore(to gatewayv1.GRPCBackendRef) bool {
	return valueOf(to.Group) == "" && cmp.Or(valueOf(to.Kind), "Service") == "Service"
}

// isService says whether a parent is a Service: then a mesh's proxies follow the route.
func isService(parent gatewayv1.ParentReference) bool {
	return valueOf(parent.Group) == "" && parent.Group != nil && valueOf(parent.Kind) == "Service"
}

// isGateway says whether a parent is a Gateway, which is the default.
func isGateway(parent gatewayv1.ParentReference) bool {
	return (parent.Group == nil || *parent.Group == gatewayv1.GroupName) && (parent.Kind == nil || *parent.Kind == "Gateway")
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
