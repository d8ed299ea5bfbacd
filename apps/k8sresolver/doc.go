// Package k8sresolver is a gRPC name resolver over the Kubernetes EndpointSlice
// API: it gives channels the addresses of a Service's ready pods, and follows them
// as pods come and go.
//
//	client, err := k8sresolver.NewInClusterClient()
//	...
//	conn, err := grpc.NewClient("k8s:///echo-server.shop:grpc",
//		grpc.WithResolvers(k8sresolver.NewBuilder(client)), grpc.WithNoProxy(), ...)
//
// grpc.WithNoProxy keeps an HTTPS_PROXY of the environment from tunnelling calls to
// pods. Requests to the API server obey HTTPS_PROXY and NO_PROXY. Outside a pod, package
// kubeconfig makes the client.
//
// # Target
//
// A target is k8s:///service[.namespace][:port]. The port is a number, which is
// the pod's port, or the name of a TCP port of the Service, which each
// EndpointSlice maps to its own number. Without a port, the resolver takes the only TCP
// port, or the one whose appProtocol is kubernetes.io/h2c or grpc, or the one whose name
// starts with grpc. Without a namespace, it takes the first of these: [WithNamespace],
// the namespace of the pod's service account, [WithDefaultNamespace], "default".
//
// # Which pods
//
// The resolver uses the endpoints that are ready. If none is ready, it uses those that
// still serve while they terminate (KEP-1669), so that calls do not fail while the last
// pods of a rollout drain. If there are none of these either, calls fail with an error
// that says how many endpoints there are and how many are ready; wait-for-ready calls
// wait for the next pod. With [WithEmptyHold] the resolver keeps the last endpoints for
// a while instead.
//
// If every ready endpoint has hints, the resolver uses those for this node (KEP-3015),
// else those for this zone (KEP-2433), else all. A pod with an IPv4 and an IPv6
// address is one endpoint with two addresses. [InfoFrom] tells balancers which pod
// an endpoint is.
//
// # Watches
//
// All channels and builders of a [Client] share one watch for each Service. It is
// kept for five minutes after its last channel, so that a channel that leaves idle
// has its endpoints before its first call. The resolver publishes the first change after
// a pause at once. It collects the changes that follow and publishes them together after
// 10 ms to 1 s; the time grows with the cost of an update of all channels. After some 20
// updates it publishes fewer than ten times a second. It does not publish an update that
// changes nothing.
//
// # Errors
//
// Until the first answer of the API server, each failure (forbidden, unreachable,
// no answer within a second, a list that does not end) reaches the callers. After it,
// the last known endpoints stay in use through every failure, and the watch reconnects.
// A streamed list that does not end gives way to a plain one.
//
// # Permissions
//
// The client needs the verbs list and watch on endpointslices of the API group
// discovery.k8s.io in the Service's namespace, and nothing else.
//
// # Metrics
//
// Channels with a telemetry plugin record k8sresolver.watch.up,
// k8sresolver.watch.staleness (seconds), k8sresolver.endpoints (by state),
// k8sresolver.events and k8sresolver.updates, when they are enabled by name.
//
// # Subsets
//
// Clients connect to every endpoint. Where that is too many, the policy
// random_subsetting_experimental (gRFC A68) around another one keeps a stable subset
// in which a pod that comes or goes moves one connection.
package k8sresolver
