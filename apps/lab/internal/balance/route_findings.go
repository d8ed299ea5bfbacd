package balance

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// grpcRoutes finds GRPCRoutes that no parent takes, and backends that get no call.
func (c *Cluster) grpcRoutes(find findFunc) {
	for _, r := range c.routes {
		var about []*corev1.Service
		find := func(value, format string, args ...any) { find(about, "grpc-route", r, value, format, args...) }
		wrong := false
		for _, to := range backends(r) {
			s, port, problem := c.backend(r, to)
			if s != nil {
				about = append(about, s)
			}
			if s != nil && problem == "" && c.ofIstio(r) && !speaksGRPC(port) && valueOf(port.AppProtocol) != "https" && !c.upgrades(s) {
				wrong = true
				find(string(to.Name), "backend %s: Istio's gateway calls port %d of Service/%s by HTTP/1.1, which gRPC does not use; expected appProtocol: kubernetes.io/h2c, or the port's name grpc", to.Name, port.Port, s.Name)
			}
			if problem != "" {
				wrong = true
				find(string(to.Name), "backend %s: %s", to.Name, problem)
			}
		}
		for _, parent := range r.Spec.ParentRefs {
			if problem := c.parent(r, parent); problem != "" {
				wrong = true
				find(string(parent.Name), "parent %s: %s", parent.Name, problem)
			}
		}
		if len(r.Spec.ParentRefs) == 0 {
			find("", "it has no parent: expected parentRefs with a Gateway, or with a Service in a mesh")
		}
		for _, g := range c.gateways {
			if h, listener := c.rival(r, g); h != nil {
				wrong = true
				find("", "%s has a hostname of it at listener %s of Gateway/%s: the listener takes one of the two routes, the older one; expected one kind of route for a hostname", manifest.Describe(h), listener, g.Name)
			}
		}
		for _, mirror := range mirrors(r) {
			if _, _, problem := c.backend(r, mirror); problem != "" {
				wrong = true
				find(string(mirror.Name), "mirror %s: %s", mirror.Name, problem)
			}
		}
		for i, rule := range r.Spec.Rules {
			if problem := noCalls(rule); problem != "" {
				find("", "rule %d %s: its calls fail with UNAVAILABLE", i+1, problem)
			}
		}
		for _, status := range r.Status.Parents {
			for _, refused := range refusals(status.Conditions, r.Generation) {
				if !wrong {
					find("", "parent %s: %s says that %s", status.ParentRef.Name, status.ControllerName, refused)
				}
			}
		}
	}
}

// goodIfTrue are the Gateway API's conditions that are False if something is wrong.
var goodIfTrue = []string{string(gatewayv1.RouteConditionAccepted), string(gatewayv1.RouteConditionResolvedRefs), string(gatewayv1.GatewayConditionProgrammed)}

// mirrors returns the backends that get copies of calls.
func mirrors(r *gatewayv1.GRPCRoute) []gatewayv1.GRPCBackendRef {
	var all []gatewayv1.GRPCBackendRef
	for _, rule := range r.Spec.Rules {
		for _, f := range rule.Filters {
			if f.RequestMirror != nil {
				all = append(all, gatewayv1.GRPCBackendRef{BackendRef: gatewayv1.BackendRef{BackendObjectReference: f.RequestMirror.BackendRef}})
			}
		}
	}
	return all
}

// refusals returns what the conditions of an object say against it, if they are about its
// present generation.
func refusals(conditions []metav1.Condition, generation int64) []string {
	var all []string
	for _, c := range conditions {
		present := c.ObservedGeneration == generation || c.ObservedGeneration == 0 || generation == 0
		if c.Status == metav1.ConditionFalse && present && slices.Contains(goodIfTrue, c.Type) {
			all = append(all, fmt.Sprintf("%s is False, %s: %s", c.Type, c.Reason, c.Message))
		}
	}
	return all
}

// ofIstio says whether a Gateway of Istio is a parent of the route. Its proxies call servers
// by HTTP/2 if their Service says so.
// Source: Istio, "Protocol Selection": gateways do not detect protocols.
func (c *Cluster) ofIstio(r *gatewayv1.GRPCRoute) bool {
	return slices.ContainsFunc(c.gateways, func(g *gatewayv1.Gateway) bool {
		return g.Spec.GatewayClassName == istioClass && slices.ContainsFunc(r.Spec.ParentRefs, func(parent gatewayv1.ParentReference) bool { return names(parent, r, g) })
	})
}

// noCalls says why a rule leads to no server, or is "". A filter of an implementation can
// answer calls.
func noCalls(rule gatewayv1.GRPCRouteRule) string {
	var weight int32
	for _, to := range rule.BackendRefs {
		weight += weightOf(to)
	}
	switch {
	case slices.ContainsFunc(rule.Filters, func(f gatewayv1.GRPCRouteFilter) bool { return f.Type == gatewayv1.GRPCRouteFilterExtensionRef }):
		return ""
	case len(rule.BackendRefs) == 0:
		return "has no backend, expected backendRefs"
	case weight == 0:
		return "has backends of weight 0 alone, expected a weight above 0"
	}
	return ""
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
	if !isGateway(parent) {
		if parent.Group == nil && valueOf(parent.Kind) == "Service" {
			return fmt.Sprintf("kind Service is of group %s if no group is named, expected group: \"\"", gatewayv1.GroupName)
		}
		return "" // such as a ListenerSet
	}
	i := slices.IndexFunc(c.gateways, func(g *gatewayv1.Gateway) bool { return names(parent, r, g) })
	if i < 0 {
		for _, g := range c.gateways {
			if g.Name == string(parent.Name) {
				return fmt.Sprintf("namespace %q has no Gateway of the name; namespace %q has one: name that namespace", namespace, g.Namespace)
			}
		}
		if c.contract {
			return fmt.Sprintf("namespace %q has no Gateway of the name", namespace)
		}
		return ""
	}
	problem := ""
	var listeners []string
	for _, l := range c.gateways[i].Spec.Listeners {
		listeners = append(listeners, fmt.Sprintf("%s (port %d)", l.Name, l.Port))
		if means(parent, l) {
			if problem = c.refuses(l, c.gateways[i], routeOf(r)); problem == "" {
				return ""
			}
		}
	}
	if problem == "" {
		problem = fmt.Sprintf("the Gateway has no listener%s, expected %s", wanted(parent), strings.Join(listeners, " or "))
	}
	return problem
}

// wanted says which listener a reference means.
func wanted(parent gatewayv1.ParentReference) (text string) {
	if parent.SectionName != nil {
		text = " " + string(*parent.SectionName)
	}
	if parent.Port != nil {
		text += fmt.Sprintf(" at port %d", *parent.Port)
	}
	return text
}
