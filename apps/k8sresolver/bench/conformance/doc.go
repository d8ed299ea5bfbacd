// Package conformance checks a gRPC resolver for Kubernetes Services, whoever wrote
// it, against named cases. A case is named after what goes wrong in resolvers that
// fail it. Most of them drive a scripted API server, which does on demand what a real
// one does at its leisure; the others drive a real kube-apiserver through a proxy
// that lets connections fail.
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, conformance.Subject{Name: "mine", Open: open})
//	}
//
// What a resolver cannot do makes a case fail, and never skips it. Cases of the real
// API server are skipped, with the reason, where its programs are missing; see
// [controlplane.Find].
package conformance
