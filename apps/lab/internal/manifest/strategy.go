package manifest

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// ComponentLabel is the label of the two Deployments that every overlay has.
// They are known by it, for a service of others has names of its own.
const ComponentLabel = "app.kubernetes.io/component"

// The values of ComponentLabel.
const (
	Server = "server"
	Client = "client"
)

// components returns the Deployments that are labelled as the part.
func components(objects []Object, part string) []*appsv1.Deployment {
	return slices.DeleteFunc(all[*appsv1.Deployment](objects), func(d *appsv1.Deployment) bool { return d.Labels[ComponentLabel] != part })
}

// component returns the Deployment that plays the part, or an empty one.
func component(objects []Object, part string) (*appsv1.Deployment, bool) {
	if found := components(objects, part); len(found) > 0 {
		return found[0], true
	}
	return &appsv1.Deployment{}, false
}

// grpcService returns the gRPC service that the server's readiness is about.
func grpcService(objects []Object) string {
	server, _ := component(objects, Server)
	if probe := first(server.Spec.Template).ReadinessProbe; probe != nil && probe.GRPC != nil && probe.GRPC.Service != nil {
		return *probe.GRPC.Service
	}
	return ""
}

// Strategy returns the name of the strategy that an overlay or a variant
// follows, whatever its own name is.
func (r *Repository) Strategy(name string) (string, error) {
	rendered, err := r.Render(name)
	if err != nil {
		return "", err
	}
	objects, err := Decode(rendered)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	if s := (rendering{name, objects}).strategy(); s != "" {
		return s, nil
	}
	return "", fmt.Errorf("%s follows no strategy: its client's target leads neither to its server nor to a proxy: `lab check %[1]s` names what is wrong", name)
}

// strategy tells by whom the client has its calls balanced, or "": by what its
// target names, by what is injected, or by itself.
func (r rendering) strategy() string {
	d, _ := dialedBy(r)
	switch server, _ := component(r.objects, Server); {
	case d.scheme == "k8s":
		return "k8s-api"
	case d.scheme == "xds":
		return "xds"
	case d.scheme == "passthrough":
		return "linkerd"
	case injected(r):
		return "istio"
	case d.host == "envoy":
		return "envoy"
	case d.host != server.Name:
		return ""
	case setting(first(server.Spec.Template), "max-connection-age") != "":
		return d.byName() + "-max-age"
	}
	return d.byName()
}

// byName tells what a client makes of the addresses that a name has.
func (d dialed) byName() string {
	if setting(d.container, "lb-policy") == "round_robin" {
		return "dns"
	}
	return "l4"
}

// injected says whether the overlay's namespace has Istio's sidecars.
func injected(r rendering) bool {
	return slices.ContainsFunc(all[*corev1.Namespace](r.objects), func(n *corev1.Namespace) bool { return n.Labels["istio-injection"] == "enabled" })
}
