package balance

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// need is what pods must reach beside the servers, or calls do not come about.
type need struct {
	what     string // "ask DNS at port 53"
	protocol corev1.Protocol
	ports    []int32 // one of them is enough: which one a policy sees is not the same everywhere
	peer     func(*Cluster, *networkingv1.NetworkPolicy, networkingv1.NetworkPolicyPeer) bool
}

// dnsNeed may be met by any address, since a node can answer too, and by pods of the
// namespaces in which DNS runs: Kubernetes' and OpenShift's.
var dnsNeed = need{"ask DNS at port 53 of UDP", corev1.ProtocolUDP, []int32{53, 5353}, func(c *Cluster, policy *networkingv1.NetworkPolicy, p networkingv1.NetworkPolicyPeer) bool {
	return p.IPBlock != nil || slices.ContainsFunc([]string{metav1.NamespaceSystem, "openshift-dns"}, func(namespace string) bool {
		if p.NamespaceSelector == nil {
			return policy.Namespace == namespace
		}
		return c.mayMean(p.NamespaceSelector, namespace)
	})
}}

// apiNeed is not met by a selector of pods of the namespace: the API server is none. Some
// implementations see the port of the Service kubernetes, others the one behind it.
var apiNeed = need{"call the API server at port 443 or 6443", corev1.ProtocolTCP, []int32{443, 6443}, func(_ *Cluster, _ *networkingv1.NetworkPolicy, p networkingv1.NetworkPolicyPeer) bool {
	return p.IPBlock != nil || p.NamespaceSelector != nil
}}

// istiodNeed is the port of istiod for agents.
// Source: Istio, "Application Requirements", ports used by Istio.
var istiodNeed = need{"call istiod at port 15012", corev1.ProtocolTCP, []int32{15012}, func(_ *Cluster, policy *networkingv1.NetworkPolicy, p networkingv1.NetworkPolicyPeer) bool {
	return p.IPBlock != nil || p.NamespaceSelector != nil && (p.PodSelector == nil || selects(p.PodSelector, istiodLabels)) || policy.Namespace == "istio-system"
}}

// istiodLabels are those of Istio's chart.
var istiodLabels = map[string]string{"app": "istiod", "istio": "pilot"}

// needsOf returns what a client's pods must reach beside the servers.
func needsOf(client Client) []need {
	var all []need
	if client.Target.byDNS() && !client.Target.literal() && !hasAgent(client.Mesh) {
		all = append(all, dnsNeed)
	}
	if client.Target.Scheme == k8sresolver.Scheme {
		all = append(all, apiNeed)
	}
	return append(all, agentNeeds(client.Mesh)...)
}

// agentNeeds returns what the agent needs that Istio adds to pods.
func agentNeeds(mesh Mesh) []need {
	if hasAgent(mesh) {
		return []need{dnsNeed, istiodNeed}
	}
	return nil
}

func hasAgent(mesh Mesh) bool { return mesh == IstioSidecar || mesh == IstioAgent }

// ways finds policies that close the ways of a client whose target is a Service: its own and
// those of the pods behind it.
func (c *Cluster) ways(p *Path, first []manifest.Workload, port intstr.IntOrString) {
	c.networkPolicies(p, p.Client.Pods, first, port)
	c.unmet(p, p.Client.Pods, needsOf(p.Client))
	if p.Through != nil {
		c.networkPolicies(p, p.Proxy, p.Servers, manifest.TargetPort(p.upstream))
		c.unmet(p, p.Proxy, []need{dnsNeed})
	}
	for _, server := range p.Servers {
		c.unmet(p, server, agentNeeds(c.meshOf(server)))
	}
	if p.Client.Mesh != NoMesh && p.Service != nil {
		for _, to := range c.besideInMesh(p.Service) {
			c.networkPolicies(p, p.Client.Pods, c.Selected(to.service), manifest.TargetPort(to.port))
		}
	}
}

// proxyPolicies finds policies that close the ways of proxies that no client here calls.
func (c *Cluster) proxyPolicies() []Finding {
	var p Path
	for _, w := range c.Proxies() {
		called := slices.ContainsFunc(c.Paths(), func(p Path) bool { return p.Proxy.Object == w.Object })
		if up, ok := c.Upstream(w); ok && !called && up.Service != nil && len(up.Findings) == 0 {
			c.networkPolicies(&p, w, c.Selected(up.Service), manifest.TargetPort(up.port))
			c.unmet(&p, w, []need{dnsNeed})
		}
	}
	return p.Findings
}

// unmet finds policies that keep pods from what they need.
func (c *Cluster) unmet(p *Path, from manifest.Workload, needs []need) {
	if from.Template.Spec.HostNetwork {
		return // what holds for the node's network is not defined
	}
	for _, n := range needs {
		if closed := c.withoutEgress(from, n); closed.by != nil {
			p.find("network-policy", closed.by, "", "no rule of egress lets %s %s%s", manifest.Describe(from.Object), n.what, closed.instead)
		}
	}
}

// withoutEgress returns the policy that comes closest to meeting the need, if no policy's
// rule of egress meets it. It returns none if one does, or if no policy selects the pods.
func (c *Cluster) withoutEgress(from manifest.Workload, n need) closing {
	var found closing
	nearest := 0
	for _, policy := range c.policiesOf(from) {
		if !applies(policy, networkingv1.PolicyTypeEgress) {
			continue
		}
		if how := min(len(policy.Spec.Egress), 1); how >= nearest {
			found, nearest = closing{by: policy}, how
		}
		for _, r := range policy.Spec.Egress {
			peers := len(r.To) == 0 || slices.ContainsFunc(r.To, func(p networkingv1.NetworkPolicyPeer) bool { return n.peer(c, policy, p) })
			ports := len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, n.admittedBy)
			switch {
			case peers && ports:
				return closing{}
			case ports && len(r.Ports) > 0:
				found, nearest = closing{policy, fmt.Sprintf(": its rule for the port admits %s alone", peersText(r.To))}, 2
			case peers && slices.ContainsFunc(r.Ports, n.hasNumber):
				found, nearest = closing{policy, ": its rule for the port has another protocol, and without one it is TCP"}, 2
			}
		}
	}
	return found
}

// admittedBy gives a port that has a name the benefit of the doubt.
func (n need) admittedBy(p networkingv1.NetworkPolicyPort) bool {
	if p.Protocol == nil && n.protocol != corev1.ProtocolTCP || p.Protocol != nil && *p.Protocol != n.protocol {
		return false
	}
	return p.Port == nil || p.Port.Type == intstr.String || n.hasNumber(p)
}

func (n need) hasNumber(p networkingv1.NetworkPolicyPort) bool {
	return p.Port != nil && slices.ContainsFunc(n.ports, func(number int32) bool {
		return p.Port.IntVal == number || p.EndPort != nil && p.Port.IntVal <= number && number <= *p.EndPort
	})
}

// nodePolicies finds policies that close the way through a proxy of the node: to its
// hostPort, and from it to the servers that Linkerd's dtab names and to the API server.
func (c *Cluster) nodePolicies(p *Path, proxy manifest.Workload) {
	hostPort, err := strconv.ParseInt(p.Client.Target.Port, 10, 32)
	if err != nil {
		return
	}
	client, port := p.Client.Pods, containerPort(proxy, int32(hostPort))
	c.unmet(p, client, []need{{
		fmt.Sprintf("call hostPort %d of %s", hostPort, manifest.Describe(proxy.Object)), corev1.ProtocolTCP, []int32{int32(hostPort), port},
		func(c *Cluster, policy *networkingv1.NetworkPolicy, peer networkingv1.NetworkPolicyPeer) bool {
			return c.admitsPeer(policy, []networkingv1.NetworkPolicyPeer{peer}, proxy)
		},
	}})
	if closed := c.closed(networkingv1.PolicyTypeIngress, proxy, client, proxy, port); closed.by != nil {
		p.find("network-policy", closed.by, "", "no rule of ingress admits %s at port %d of %s%s", manifest.Describe(client.Object), port, manifest.Describe(proxy.Object), closed.instead)
	}
	configMap, content := c.mountedWith(proxy, "io.l5d.k8s")
	if configMap == nil {
		return
	}
	c.unmet(p, proxy, []need{apiNeed})
	for _, named := range l5dName.FindAllStringSubmatch(content, -1) {
		s := c.service(named[3], named[1])
		if s == nil {
			continue
		}
		for _, port := range s.Spec.Ports {
			if port.Name == named[2] {
				c.networkPolicies(p, proxy, c.Selected(s), manifest.TargetPort(port))
			}
		}
	}
}

// l5dName is a name of Linkerd 1's namer of Kubernetes: namespace, port and Service.
var l5dName = regexp.MustCompile(`/#/io\.l5d\.k8s/([\w-]+)/([\w-]+)/([\w-]+)`)

// containerPort returns the port of the pod to which a port of the node leads.
func containerPort(w manifest.Workload, hostPort int32) int32 {
	for _, container := range w.Containers() {
		for _, p := range container.Ports {
			if p.HostPort == hostPort {
				return p.ContainerPort
			}
		}
	}
	return hostPort
}
