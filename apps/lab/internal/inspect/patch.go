package inspect

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// patchOf returns the command that mends what a finding names, or "". What is not in a
// field of its own, such as a program's flag, has none.
func patchOf(f balance.Finding) string {
	switch f.Name {
	case "session-affinity":
		return patch(f.Object, "merge", spec{"sessionAffinity": "None"})
	case "traffic-policy":
		if f.Value == "trafficDistribution" {
			return patch(f.Object, "merge", spec{"trafficDistribution": nil})
		}
		return patch(f.Object, "merge", spec{"internalTrafficPolicy": "Cluster"})
	case "not-ready-addresses":
		return patch(f.Object, "merge", spec{"publishNotReadyAddresses": false})
	case "disruption-budget":
		return patch(f.Object, "merge", spec{"minAvailable": nil, "maxUnavailable": 1})
	case "mesh-protocol":
		if s, ok := f.Object.(*corev1.Service); ok && len(s.Spec.Ports) == 1 {
			return patch(s, "strategic", spec{"ports": []spec{{"port": s.Spec.Ports[0].Port, "appProtocol": "kubernetes.io/h2c"}}})
		}
	case "readiness":
		return patchReadiness(f)
	}
	return ""
}

type spec = map[string]any

// patch returns a command that changes the spec of an object.
func patch(o manifest.Object, kind string, fields spec) string {
	content, err := json.Marshal(spec{"spec": fields})
	if err != nil {
		return ""
	}
	return fmt.Sprintf("kubectl -n %s patch %s --type=%s -p '%s'", o.GetNamespace(), strings.ToLower(manifest.Describe(o)), kind, content)
}

// patchReadiness gives a container the probe of gRPC's health service, if it is of a kind
// that can be patched, and one of its ports is gRPC's.
func patchReadiness(f balance.Finding) string {
	owner, ok := f.Object.(*appsv1.Deployment) // a live owner of any kind has this type
	if !ok || !slices.Contains([]string{"Deployment", "StatefulSet", "DaemonSet"}, owner.Kind) {
		return ""
	}
	for _, c := range owner.Spec.Template.Spec.Containers {
		for _, p := range c.Ports {
			if c.Name == f.Value && (len(c.Ports) == 1 || strings.HasPrefix(p.Name, "grpc")) {
				probe := spec{"grpc": spec{"port": p.ContainerPort}}
				return patch(owner, "strategic", spec{"template": spec{"spec": spec{"containers": []spec{{"name": c.Name, "readinessProbe": probe}}}}})
			}
		}
	}
	return ""
}
