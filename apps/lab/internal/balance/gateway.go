package balance

import (
	"cmp"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Backend is a port of a Service that is known to be gRPC's.
type Backend struct {
	namespace, service string
	port               int64
}

// routed returns the backends of all GRPCRoutes.
// Source: the API reference of GRPCRoute, gateway.networking.k8s.io/v1.
func routed(objects []manifest.Object) map[Backend]bool {
	all := map[Backend]bool{}
	for _, o := range manifest.All[*unstructured.Unstructured](objects) {
		if o.GroupVersionKind().Group != "gateway.networking.k8s.io" || o.GetKind() != "GRPCRoute" {
			continue
		}
		for _, rule := range objectsIn(o.Object, "spec", "rules") {
			for _, to := range objectsIn(rule, "backendRefs") {
				name, _, _ := unstructured.NestedString(to, "name")
				namespace, _, _ := unstructured.NestedString(to, "namespace")
				port, _, _ := unstructured.NestedInt64(to, "port")
				all[Backend{cmp.Or(namespace, o.GetNamespace()), name, port}] = true
			}
		}
	}
	return all
}

// objectsIn returns the objects of a list in an object.
func objectsIn(object map[string]any, fields ...string) []map[string]any {
	list, _, _ := unstructured.NestedSlice(object, fields...)
	var all []map[string]any
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}
