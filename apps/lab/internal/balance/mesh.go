package balance

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Mesh is what a service mesh adds to a pod.
type Mesh string

// The additions.
const (
	NoMesh Mesh = ""
	// IstioSidecar is Istio's Envoy, which chooses a server for each call.
	IstioSidecar Mesh = "Istio's sidecar"
	// IstioAgent makes the bootstrap file of gRPC's xDS, and proxies nothing.
	IstioAgent Mesh = "Istio's gRPC agent"
	// IstioWaypoint is the waypoint of Istio's ambient mode, which chooses a server for each
	// call to the Services that use it.
	IstioWaypoint Mesh = "Istio's waypoint"
	// Linkerd2 is Linkerd 2's proxy, which chooses a server for each call.
	Linkerd2 Mesh = "Linkerd's proxy"
)

// The containers that meshes add.
const (
	istioProxy   = "istio-proxy"
	linkerdProxy = "linkerd-proxy"
)

// IsMeshProxy says whether a container of that name is a mesh's, not the program's.
func IsMeshProxy(name string) bool { return name == istioProxy || name == linkerdProxy }

// meshOf returns what a mesh adds to the workload's pods. A label or an annotation of
// the pod decides before one of the namespace.
// Sources: Istio, "Installing the sidecar" (table of the injection policy); Linkerd,
// "Automatic proxy injection".
func (c *Cluster) meshOf(w manifest.Workload) Mesh {
	for _, container := range w.Containers() { // a live pod shows what was injected
		switch {
		case container.Name == istioProxy && isAgent(w):
			return IstioAgent
		case container.Name == istioProxy:
			return IstioSidecar
		case container.Name == linkerdProxy:
			return Linkerd2
		}
	}
	if c.live {
		return NoMesh
	}
	namespace := c.namespace(w)
	if namespace == nil {
		namespace = &corev1.Namespace{}
	}
	if istioInjects(w, namespace) {
		if isAgent(w) {
			return IstioAgent
		}
		return IstioSidecar
	}
	inject, ok := w.Template.Annotations["linkerd.io/inject"]
	if !ok {
		inject = namespace.Annotations["linkerd.io/inject"]
	}
	if inject == "enabled" || inject == "ingress" {
		return Linkerd2
	}
	return NoMesh
}

func isAgent(w manifest.Workload) bool {
	return w.Template.Annotations["inject.istio.io/templates"] == "grpc-agent"
}

// istioInjects follows Istio's webhooks. A pod is sent to them by its own label, or by its
// namespace's, or revision; then its label decides, or the deprecated annotation.
func istioInjects(w manifest.Workload, namespace *corev1.Namespace) bool {
	pod, labelled := w.Template.Labels[istioInject]
	sent := namespace.Labels["istio-injection"] == "enabled" ||
		namespace.Labels["istio-injection"] == "" && (namespace.Labels["istio.io/rev"] != "" || pod == "true" || w.Template.Labels["istio.io/rev"] != "")
	if !labelled {
		pod = w.Template.Annotations[istioInject]
	}
	return sent && !w.Template.Spec.HostNetwork && (pod == "" || slices.Contains([]string{"y", "yes", "true", "on"}, strings.ToLower(pod)))
}

const istioInject = "sidecar.istio.io/inject"

// waypoint says whether a waypoint of Istio's ambient mode handles a client's calls to a
// Service.
// Source: Istio, "Configure waypoint proxies".
func (c *Cluster) waypoint(s *corev1.Service, client manifest.Workload) bool {
	labelled := func(o manifest.Object, own map[string]string, label string) string {
		value, ok := own[label]
		if namespace := c.namespace(o); !ok && namespace != nil {
			value = namespace.Labels[label]
		}
		return value
	}
	waypoint := labelled(s, s.Labels, "istio.io/use-waypoint")
	return labelled(client, client.Template.Labels, "istio.io/dataplane-mode") == "ambient" && waypoint != "" && waypoint != "none"
}

// bypass returns the object that keeps a mesh from choosing a pod for each call, and why,
// or "".
// Sources: Istio, "Resource Annotations", and its reference of DestinationRule; Linkerd,
// "Proxy Configuration".
func (c *Cluster) bypass(client Client, s *corev1.Service, port corev1.ServicePort) (manifest.Object, string) {
	annotations := client.Pods.Template.Annotations
	switch client.Mesh {
	case IstioSidecar:
		const exclude = "traffic.sidecar.istio.io/excludeOutboundPorts"
		if listsPort(annotations[exclude], port.Port) {
			return client.Pods.Object, "the annotation " + exclude + " has the port"
		}
		if rule := c.passthrough(s); rule != nil {
			return rule, "loadBalancer.simple is PASSTHROUGH"
		}
	case Linkerd2:
		const skip = "config.linkerd.io/skip-outbound-ports"
		ports, ok := annotations[skip]
		if namespace := c.namespace(client.Pods); !ok && namespace != nil {
			ports = namespace.Annotations[skip]
		}
		if listsPort(ports, port.Port) {
			return client.Pods.Object, "the annotation " + skip + " has the port"
		}
	}
	return nil, ""
}

// passthrough returns the DestinationRule of a Service that lets each connection go where
// the client wanted, or nil.
func (c *Cluster) passthrough(s *corev1.Service) manifest.Object {
	for _, o := range c.destinationRules(s) {
		if simple, _, _ := unstructured.NestedString(o.Object, "spec", "trafficPolicy", "loadBalancer", "simple"); simple == "PASSTHROUGH" {
			return o
		}
	}
	return nil
}

// upgrades says whether a DestinationRule makes Istio call the Service by HTTP/2 whatever
// its ports say.
func (c *Cluster) upgrades(s *corev1.Service) bool {
	return slices.ContainsFunc(c.destinationRules(s), func(o *unstructured.Unstructured) bool {
		const pool, http = "connectionPool", "http"
		policy, _, _ := unstructured.NestedString(o.Object, "spec", "trafficPolicy", pool, http, "h2UpgradePolicy")
		asClient, _, _ := unstructured.NestedBool(o.Object, "spec", "trafficPolicy", pool, http, "useClientProtocol")
		return policy == "UPGRADE" || asClient
	})
}

// listsPort says whether a list of ports and ranges, such as "80,8000-8100", has the port.
func listsPort(list string, port int32) bool {
	return slices.ContainsFunc(strings.Split(list, ","), func(item string) bool {
		low, high, isRange := strings.Cut(strings.TrimSpace(item), "-")
		if !isRange {
			high = low
		}
		from, err := strconv.ParseInt(strings.TrimSpace(low), 10, 32)
		to, err2 := strconv.ParseInt(strings.TrimSpace(high), 10, 32)
		return err == nil && err2 == nil && from <= int64(port) && int64(port) <= to
	})
}

// opaqueTo returns what makes the mesh treat a port as TCP, or "".
// Sources: Istio, "Protocol Selection": a name that it does not know makes it detect the
// protocol. Linkerd 2, "appProtocol" (2.19 and later) and "Opaque ports".
func (c *Cluster) opaqueTo(mesh Mesh, s *corev1.Service, p corev1.ServicePort) string {
	if mesh == Linkerd2 {
		const opaque = "config.linkerd.io/opaque-ports"
		ports, ok := s.Annotations[opaque]
		if namespace := c.namespace(s); !ok && namespace != nil {
			ports = namespace.Annotations[opaque]
		}
		switch {
		case listsPort(ports, p.Port), p.Name != "" && slices.Contains(strings.Split(ports, ","), p.Name):
			return "the annotation " + opaque
		case p.AppProtocol != nil && !slices.Contains([]string{"http", "http2", "kubernetes.io/h2c"}, strings.ToLower(*p.AppProtocol)):
			return "appProtocol " + *p.AppProtocol
		}
		return ""
	}
	tcp := []string{"tcp", "tls", "https", "mongo", "mysql", "redis", "udp"}
	switch {
	case p.AppProtocol != nil && slices.Contains(append(tcp, "kubernetes.io/wss"), strings.ToLower(*p.AppProtocol)):
		return "appProtocol " + *p.AppProtocol
	case p.AppProtocol == nil && named(p.Name, tcp...):
		return "the port's name " + p.Name
	}
	return ""
}

// http1To returns what makes the mesh call the servers by HTTP/1.1, or "".
func http1To(mesh Mesh, p corev1.ServicePort) string {
	switch {
	case p.AppProtocol != nil && strings.EqualFold(*p.AppProtocol, "http"):
		return "appProtocol " + *p.AppProtocol
	case mesh != Linkerd2 && p.AppProtocol == nil && named(p.Name, "http"):
		return "the port's name " + p.Name
	}
	return ""
}
