package manifest

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
)

// ComponentLabel is the label of the two Deployments that every overlay has. The
// lab finds them by this label, because the services of other people have names
// of their own.
const ComponentLabel = "app.kubernetes.io/component"

// The values of ComponentLabel.
const (
	Server = "server"
	Client = "client"
)

// Rendering is the objects that an overlay or a variant renders, and its name.
type Rendering struct {
	Name    string
	Objects []Object
}

// Components returns the Deployments that carry a value of ComponentLabel.
func Components(objects []Object, part string) []*appsv1.Deployment {
	return slices.DeleteFunc(All[*appsv1.Deployment](objects), func(d *appsv1.Deployment) bool { return d.Labels[ComponentLabel] != part })
}

// Component returns the first Deployment that carries a value of ComponentLabel,
// or an empty one.
func Component(objects []Object, part string) (*appsv1.Deployment, bool) {
	if found := Components(objects, part); len(found) > 0 {
		return found[0], true
	}
	return &appsv1.Deployment{}, false
}

// GRPCService returns the gRPC service that the server's readiness probe names,
// or "".
func GRPCService(objects []Object) string {
	server, _ := Component(objects, Server)
	if probe := MainContainer(server.Spec.Template).ReadinessProbe; probe != nil && probe.GRPC != nil && probe.GRPC.Service != nil {
		return *probe.GRPC.Service
	}
	return ""
}
