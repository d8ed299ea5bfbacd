package balance

import (
	corev1 "k8s.io/api/core/v1"

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

// istioInjects follows Istio's webhooks: "disabled" on the namespace or "false" on
// the pod wins, then the namespace's label, its revision, and the pod's own labels.
func istioInjects(w manifest.Workload, namespace *corev1.Namespace) bool {
	pod, ok := w.Template.Labels["sidecar.istio.io/inject"]
	if !ok {
		pod = w.Template.Annotations["sidecar.istio.io/inject"] // deprecated, still read
	}
	if pod == "false" || w.Template.Spec.HostNetwork {
		return false
	}
	switch namespace.Labels["istio-injection"] {
	case "enabled":
		return true
	case "disabled":
		return false
	}
	if namespace.Labels["istio.io/rev"] != "" {
		return true
	}
	return pod == "true" || w.Template.Labels["istio.io/rev"] != "" && pod != "false"
}
