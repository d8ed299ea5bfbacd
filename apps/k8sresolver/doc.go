// Package k8sresolver is a gRPC name resolver over the Kubernetes EndpointSlice
// API: it gives a channel the addresses of a Service's ready pods, and follows
// them as pods come and go.
//
//	client, err := k8sresolver.NewInClusterClient()
//	...
//	conn, err := grpc.NewClient("k8s:///echo-server.shop:grpc",
//		grpc.WithResolvers(k8sresolver.NewBuilder(client)), ...)
//
// # Target
//
// A target is k8s:///service[.namespace][:port]. The port is a number, which is
// the pod's port, or the name of a TCP port of the Service, which each
// EndpointSlice maps to its own number. Without a port, the only TCP port is
// taken, or the one whose appProtocol is kubernetes.io/h2c or grpc, or the one
// whose name starts with grpc. Without a namespace, the first of these is taken:
// [WithNamespace], the namespace of the pod's service account,
// [WithDefaultNamespace], "default".
//
// # Which pods
//
// An endpoint is used when it is ready. When none is, those that still serve
// while they terminate are used (KEP-1669), so that the last pods of a rollout
// drain instead of failing calls. When there are none of these either, calls
// fail with an error that says how many endpoints there are and how many are
// ready; wait-for-ready calls wait for the next pod.
//
// # Errors
//
// Until the first answer of the API server, each failure (forbidden, unreachable,
// no answer within a second) reaches the callers. After it, the last known
// endpoints stay in use through every failure, and the watch reconnects.
//
// # Permissions
//
// The client needs the verbs list and watch on endpointslices of the API group
// discovery.k8s.io in the Service's namespace, and nothing else.
package k8sresolver
