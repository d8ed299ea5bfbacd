// Package balance works out how the calls of gRPC clients are spread over their
// servers: which party chooses a server, for each connection or for each call,
// among which addresses, and when a new pod gets calls.
//
// It reads Kubernetes objects, rendered or live, and does no I/O. The flow is
// New -> Clients (target, policy, mesh) -> Paths (a verdict and the findings that
// decide it).
package balance
