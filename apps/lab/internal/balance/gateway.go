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

// These labels are on all that an implementation makes of a Gateway, its pods too.
// Source: GEP-1762.
const (
	gatewayLabel        = "gateway.networking.k8s.io/gateway-name"
	gatewayLabelOfClass = "gateway.networking.k8s.io/gateway-class-name"
)

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
	set := map[string]string{gatewayLabel: g.Name, gatewayLabelOfClass: string(g.Spec.GatewayClassName)}
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
	p.gateway = g
	var most int32
	var servicePort corev1.ServicePort
	var meant *corev1.Service // that no call reaches
	var hosts []gatewayv1.Hostname
	for _, r := range c.routes {
		if !c.attaches(r, g, port) {
			continue
		}
		hosts = append(hosts, c.hostsAt(r, g, port)...)
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
	case p.Service == nil && !c.complete() && !c.hasRoute(g):
		p.Because = fmt.Sprintf("no GRPCRoute of Gateway/%s is among the objects", g.Name)
		return
	case p.Service == nil:
		p.Verdict, p.Service = Unreachable, meant
		p.find("grpc-route", g, "", "no GRPCRoute leads from its port %d to a Service", port)
		return
	}
	p.Servers = c.Selected(p.Service)
	p.Verdict, p.Chooser, p.Among, p.NewPods = Balanced, manifest.Describe(g), "the ready pods", atOnce
	switch shown := p.Client.shows(hosts); {
	case !shown && p.Client.Marked:
		p.Verdict = Unreachable
		p.find("grpc-route", g, "", "its routes take calls to %s: the client calls %s, and has no --authority", hostList(hosts), p.Client.Target.Host)
	case !shown:
		p.Verdict, p.Because = Undecided, fmt.Sprintf("the routes of Gateway/%s take calls to %s: the client calls %s, unless its program sets another authority", g.Name, hostList(hosts), p.Client.Target.Host)
	}
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
	c.unmet(p, p.Client.Pods, needsOf(p.Client))
	c.beyondProxy(p, g, proxy, p.Servers, servicePort)
}

// hasRoute says whether a GRPCRoute names the Gateway, also one that it does not take.
func (c *Cluster) hasRoute(g *gatewayv1.Gateway) bool {
	return slices.ContainsFunc(c.routes, func(r *gatewayv1.GRPCRoute) bool {
		return slices.ContainsFunc(r.Spec.ParentRefs, func(parent gatewayv1.ParentReference) bool { return names(parent, r, g) })
	})
}

// beyondProxy finds policies that close the ways of a Gateway's proxy: to servers, to DNS
// and to istiod.
func (c *Cluster) beyondProxy(p *Path, g *gatewayv1.Gateway, proxy manifest.Workload, servers []manifest.Workload, port corev1.ServicePort) {
	c.networkPolicies(p, proxy, servers, manifest.TargetPort(port))
	c.unmet(p, proxy, []need{dnsNeed})
	if g.Spec.GatewayClassName == istioClass {
		c.unmet(p, proxy, []need{istiodNeed})
	}
}

// istioClass is the class of Istio's Gateways, whose proxies run in the Gateway's namespace.
const istioClass = "istio"

// gatewayPolicies finds policies that close the way from a Gateway's proxy to the servers of
// its routes: its clients can be outside of the objects. Where the proxies of other classes
// run is not known, nor where those are that an address of the Gateway names.
func (c *Cluster) gatewayPolicies() []Finding {
	var p Path
	for _, g := range c.gateways {
		called := slices.ContainsFunc(c.Paths(), func(p Path) bool { return p.gateway == g })
		if g.Spec.GatewayClassName != istioClass || len(g.Spec.Addresses) > 0 || called || c.live {
			continue
		}
		for _, r := range c.routes {
			if !slices.ContainsFunc(g.Spec.Listeners, func(l gatewayv1.Listener) bool { return c.attaches(r, g, l.Port) }) {
				continue
			}
			for _, to := range backends(r) {
				if s, port, problem := c.backend(r, to); problem == "" && s != nil && weightOf(to) > 0 {
					c.beyondProxy(&p, g, proxyOf(g), c.Selected(s), port)
				}
			}
		}
	}
	return p.Findings
}

// shows says whether the client's authority can be one of the hosts: by default it is the
// target's host, and a setting can name another. No hosts are all hosts.
func (c Client) shows(hosts []gatewayv1.Hostname) bool {
	return len(hosts) == 0 || slices.ContainsFunc(hosts, func(h gatewayv1.Hostname) bool {
		if intersect(string(h), c.Target.Host) {
			return true
		}
		for _, value := range c.Settings {
			if host, _, _ := strings.Cut(value, ":"); intersect(string(h), host) {
				return true
			}
		}
		return false
	})
}

// listeners finds listeners of Gateways that serve nothing.
// Source: the API reference of Gateway, gateway.networking.k8s.io/v1: conflicted listeners.
func (c *Cluster) listeners(find findFunc) {
	for _, g := range c.gateways {
		for _, refused := range refusals(g.Status.Conditions, g.Generation) {
			find(nil, "grpc-route", g, "", "its controller says that %s", refused)
		}
		for i, l := range g.Spec.Listeners {
			if l.Protocol == gatewayv1.HTTPSProtocolType && (l.TLS == nil || len(l.TLS.CertificateRefs) == 0 && len(l.TLS.Options) == 0) {
				find(nil, "grpc-route", g, string(l.Name), "listener %s has protocol HTTPS and no certificate, expected tls.certificateRefs", l.Name)
			}
			if l.TLS != nil {
				c.certificates(g, l, find)
				c.hostnames(g, l, find)
			}
			for _, before := range g.Spec.Listeners[:i] {
				if l.Port == before.Port && l.Protocol == before.Protocol && valueOf(l.Hostname) == valueOf(before.Hostname) {
					find(nil, "grpc-route", g, string(l.Name), "listeners %s and %s have the same port, protocol and hostname: the API server refuses the Gateway", before.Name, l.Name)
				}
				if l.Port == before.Port && !compatible(l.Protocol, before.Protocol) {
					find(nil, "grpc-route", g, string(l.Name), "listeners %s and %s have port %d with the protocols %s and %s, expected one of them: neither serves calls", before.Name, l.Name, l.Port, before.Protocol, l.Protocol)
				}
			}
		}
	}
}

// certificates finds Secrets of another namespace that a listener may not name.
func (c *Cluster) certificates(g *gatewayv1.Gateway, l gatewayv1.Listener, find findFunc) {
	for _, ref := range l.TLS.CertificateRefs {
		namespace := within(ref.Namespace, g)
		if valueOf(ref.Group) != "" || cmp.Or(valueOf(ref.Kind), "Secret") != "Secret" || sameNamespace(namespace, g.Namespace) || !c.contract && !c.makes(string(ref.Name), namespace) {
			continue
		}
		if !c.grants("Gateway", g.Namespace, "Secret", string(ref.Name), namespace) {
			find(nil, "grpc-route", g, string(ref.Name), "listener %s: no ReferenceGrant of namespace %q lets a Gateway of namespace %q name its Secret %q", l.Name, namespace, g.Namespace, ref.Name)
		}
	}
}

// makes says whether a Secret, or an object of which an operator makes it, is among the
// objects.
func (c *Cluster) makes(secret, namespace string) bool {
	return in(c.secrets[secret], namespace) != nil || slices.ContainsFunc(c.objects, func(o manifest.Object) bool {
		return manifest.SecretOf(o) == secret && sameNamespace(o.GetNamespace(), namespace)
	})
}

// compatible says whether a port can serve both protocols: HTTPS and TLS are told apart by
// the server's name, and UDP has ports of its own.
func compatible(a, b gatewayv1.ProtocolType) bool {
	shared := map[gatewayv1.ProtocolType]string{gatewayv1.HTTPProtocolType: "HTTP", gatewayv1.HTTPSProtocolType: "TLS", gatewayv1.TLSProtocolType: "TLS", gatewayv1.TCPProtocolType: "TCP"}
	return shared[a] == "" || shared[b] == "" || shared[a] == shared[b]
}
