package balance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// end is where a target leads.
type end struct {
	service *corev1.Service
	port    corev1.ServicePort // of the Service
	// meant is a Service of that name in another namespace, if the target's has none.
	meant *corev1.Service
	// gateway is the Gateway whose proxy the target means, and listener its port; nil and 0
	// without one.
	gateway  *gatewayv1.Gateway
	listener gatewayv1.PortNumber
	// node is the workload behind a port of the client's node, or the zero value.
	node manifest.Workload
	// elsewhere says that the target leads out of what the objects show, such as to
	// an address outside the cluster.
	elsewhere string
	// pod is the name of the one pod that the target means, or "".
	pod string
	// problem says why the target leads nowhere, or is "". If unknown, the objects have no
	// Service of that name at all, and others may.
	problem string
	unknown bool
}

// lead follows a client's target, which gRPC can parse.
func (c *Cluster) lead(t Target, w manifest.Workload) end {
	if strings.Contains(t.Host, "$(") || t.literal() {
		return c.leadToAddress(t)
	}
	if t.Scheme == "unix" || t.Scheme == "unix-abstract" {
		return end{elsewhere: "a socket of the pod"}
	}
	if e, ok := c.leadToPod(t, w); ok {
		return e
	}
	name, problem := t.serviceName(w.GetNamespace())
	if problem != "" {
		if strings.Contains(t.Host, ".") && !strings.HasSuffix(t.Host, ".") && t.Scheme != k8sresolver.Scheme {
			return end{elsewhere: t.Host, problem: ""}
		}
		return end{problem: problem}
	}
	if problem := nodesDNS(w); t.byDNS() && problem != "" {
		return end{problem: problem}
	}
	s := c.service(name.service, name.namespace)
	if s == nil {
		if g := c.gatewayNamed(name); g != nil {
			return leadToListener(g, nil, t.Port)
		}
		if other := c.inOtherNamespace(name.service); other != nil {
			return end{meant: other, problem: fmt.Sprintf("namespace %q has no Service %q; namespace %q has one: write %s.%s", name.namespace, name.service, other.Namespace, name.service, other.Namespace)}
		}
		return end{problem: fmt.Sprintf("no Service has the short name %q", name.service), unknown: true}
	}
	e := end{service: s}
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		e.elsewhere = s.Spec.ExternalName
		return e
	}
	e.port, e.problem = c.portFor(t, s)
	if g := c.gatewayBehind(s); g != nil && e.problem == "" {
		port := manifest.TargetPort(e.port)
		return leadToListener(g, s, port.String())
	}
	return e
}

// nodesDNS says why a pod asks its node's DNS, which does not know the cluster's names, or
// is "".
// Source: Kubernetes, "Pod's DNS Policy".
func nodesDNS(w manifest.Workload) string {
	switch policy := w.Template.Spec.DNSPolicy; {
	case policy == corev1.DNSDefault:
		return "the pod's dnsPolicy is Default, so it asks its node's DNS, which does not know the cluster's names; expected ClusterFirst"
	case w.Template.Spec.HostNetwork && (policy == "" || policy == corev1.DNSClusterFirst):
		return "the pod uses its node's network and DNS, which do not know the cluster's names; expected dnsPolicy: ClusterFirstWithHostNet"
	}
	return ""
}

// leadToPod follows the name of one pod of a StatefulSet: POD.SERVICE, with or without
// the namespace and the cluster's domain. It is false of any other name.
// Source: Kubernetes, "StatefulSet", stable network ID.
func (c *Cluster) leadToPod(t Target, w manifest.Workload) (end, bool) {
	pod, rest, ok := strings.Cut(strings.ToLower(t.Host), ".")
	if !ok || !t.byDNS() {
		return end{}, false
	}
	name, problem := Target{Scheme: t.Scheme, Host: rest}.serviceName(w.GetNamespace())
	s := c.service(name.service, name.namespace)
	if problem != "" || s == nil || !Headless(s) {
		return end{}, false
	}
	if alone, problem := t.serviceName(w.GetNamespace()); problem == "" && c.service(alone.service, alone.namespace) != nil {
		return end{}, false // SERVICE.NAMESPACE
	}
	for _, server := range c.Selected(s) {
		if server.Template.Spec.Subdomain == s.Name {
			return end{service: s, pod: pod}, true
		}
		set, isSet := server.Object.(*appsv1.StatefulSet)
		if !isSet || set.Spec.ServiceName != s.Name {
			continue
		}
		number, ofSet := strings.CutPrefix(pod, set.Name+"-")
		ordinal, err := strconv.Atoi(number)
		if err != nil || !ofSet {
			continue
		}
		first, pods := int32(0), int32(1)
		if set.Spec.Ordinals != nil {
			first = set.Spec.Ordinals.Start
		}
		if set.Spec.Replicas != nil {
			pods = *set.Spec.Replicas
		}
		scaled := slices.ContainsFunc(manifest.Autoscalers(c.objects), func(a manifest.Autoscaler) bool { return a.Scales(set) })
		if !scaled && (int32(ordinal) < first || int32(ordinal) >= first+pods) { //nolint:gosec // G115: an ordinal is small
			return end{service: s, problem: fmt.Sprintf("StatefulSet/%s has no pod %s: it has %d", set.Name, pod, pods)}, true
		}
		e := end{service: s, pod: pod}
		e.port, e.problem = c.portFor(t, s)
		return e, true
	}
	if len(c.Selected(s)) == 0 || c.live {
		return end{}, false
	}
	return end{service: s, problem: fmt.Sprintf("Service/%s has no pod of the name %s: only pods of a StatefulSet with serviceName: %s have names", s.Name, pod, s.Name)}, true
}

func (t Target) byDNS() bool { return t.Scheme == "dns" || t.Scheme == "passthrough" }

func (c *Cluster) inOtherNamespace(name string) *corev1.Service {
	if named := c.services[name]; len(named) > 0 {
		return named[0]
	}
	return nil
}

// leadToAddress follows an IP address, or a variable that only a node knows.
func (c *Cluster) leadToAddress(t Target) end {
	if s := c.serviceAt(t.Host); s != nil {
		e := end{service: s}
		e.port, e.problem = c.portFor(t, s)
		return e
	}
	number, err := strconv.ParseInt(t.Port, 10, 32)
	for _, w := range c.workloads {
		if err == nil && w.HasHostPort(int32(number)) {
			return end{node: w}
		}
	}
	if t.literal() {
		return end{elsewhere: t.Host}
	}
	return end{problem: "nothing has hostPort " + t.Port}
}

// portFor returns the Service's port to which a target's port leads. A headless name
// and the scheme k8s lead to the pods, a cluster IP and xDS to the Service.
func (c *Cluster) portFor(t Target, s *corev1.Service) (corev1.ServicePort, string) {
	ports := s.Spec.Ports
	switch number, err := strconv.ParseInt(t.Port, 10, 32); {
	case t.Scheme == k8sresolver.Scheme && t.Port == "":
		return c.onlyPort(s)
	case err != nil: // a name, which only the scheme k8s has
		if i := slices.IndexFunc(ports, func(p corev1.ServicePort) bool { return p.Name == t.Port }); i >= 0 {
			return ports[i], ""
		}
	case t.Scheme == k8sresolver.Scheme, t.byDNS() && Headless(s):
		return c.podPort(t, s, int32(number))
	default:
		if i := slices.IndexFunc(ports, func(p corev1.ServicePort) bool { return int64(p.Port) == number }); i >= 0 {
			return ports[i], ""
		}
	}
	return corev1.ServicePort{}, fmt.Sprintf("Service/%s has no port %s, expected %s", s.Name, t.Port, portList(ports))
}

// onlyPort chooses as k8sresolver does: the only TCP port, or the one that is gRPC's.
func (c *Cluster) onlyPort(s *corev1.Service) (corev1.ServicePort, string) {
	tcp := slices.DeleteFunc(slices.Clone(s.Spec.Ports), func(p corev1.ServicePort) bool { return protocol(p) != string(corev1.ProtocolTCP) })
	if len(tcp) != 1 {
		tcp = slices.DeleteFunc(tcp, func(p corev1.ServicePort) bool {
			named := p.AppProtocol != nil && slices.Contains([]string{"kubernetes.io/h2c", "grpc"}, *p.AppProtocol)
			return !named && !strings.HasPrefix(p.Name, "grpc")
		})
	}
	if len(tcp) != 1 {
		return corev1.ServicePort{}, fmt.Sprintf("the target has no port, and Service/%s has several that can be meant: %s", s.Name, portList(s.Spec.Ports))
	}
	return tcp[0], ""
}

// podPort returns the Service's port that leads to a port of the pods. A headless
// name leads to any port of the pods, the scheme k8s only to those of the Service.
func (c *Cluster) podPort(t Target, s *corev1.Service, number int32) (corev1.ServicePort, string) {
	pods := c.Selected(s)
	if len(pods) == 0 && (len(s.Spec.Selector) == 0 || !c.live && !c.contract) {
		return corev1.ServicePort{Port: number}, "" // endpoints or pods that somebody else makes
	}
	var listening []string
	for _, p := range s.Spec.Ports {
		for _, n := range podNumbers(pods, manifest.TargetPort(p)) {
			if n == number {
				return p, ""
			}
			listening = append(listening, strconv.Itoa(int(n)))
		}
	}
	if t.Scheme != k8sresolver.Scheme && slices.ContainsFunc(pods, func(w manifest.Workload) bool { return w.HasPort(intstr.FromInt32(number)) }) {
		return corev1.ServicePort{Port: number}, ""
	}
	how := "is headless, and no pod listens on its port"
	if t.Scheme == k8sresolver.Scheme {
		how = "leads to no pod's port"
	}
	slices.Sort(listening)
	return corev1.ServicePort{}, fmt.Sprintf("Service/%s %s %d, expected the pods' port %s", s.Name, how, number, strings.Join(slices.Compact(listening), " or "))
}

// podNumbers returns the numbers of a port in the pods.
func podNumbers(pods []manifest.Workload, port intstr.IntOrString) []int32 {
	if port.Type == intstr.Int {
		return []int32{port.IntVal}
	}
	var numbers []int32
	for _, w := range pods {
		for _, container := range w.Containers() {
			for _, p := range container.Ports {
				if p.Name == port.StrVal {
					numbers = append(numbers, p.ContainerPort)
				}
			}
		}
	}
	return numbers
}

func portList(ports []corev1.ServicePort) string {
	var all []string
	for _, p := range ports {
		text := strconv.Itoa(int(p.Port))
		if p.Name != "" {
			text += " (" + p.Name + ")"
		}
		all = append(all, text)
	}
	if len(all) == 0 {
		return "a Service with ports"
	}
	return strings.Join(all, " or ")
}
