// Package conformance tests a gRPC resolver for Kubernetes Services with named cases. The
// name of a case says what goes wrong in resolvers that fail it. Most cases use a scripted
// API server, which fails on demand. The others use a real kube-apiserver behind a proxy
// that makes connections fail.
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, conformance.Subject{Name: "mine", Open: open})
//	}
//
// A case fails, and is not skipped, if the resolver lacks the feature that it tests. Cases
// of the real API server are skipped, with the reason, if its programs are missing; see
// [controlplane.Find].
package conformance
