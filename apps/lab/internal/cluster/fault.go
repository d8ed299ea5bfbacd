package cluster

import "errors"

// ErrEnded says that a fault had ended before it was mended: what was measured since
// then was measured without it.
var ErrEnded = errors.New("the fault ended before it was mended")

// Fault is what the lab can take away of a cluster's network. What is taken away is
// dropped without an answer, on connections that are open, too.
type Fault struct {
	Kind FaultKind
	// Node is the worker that LinkDown cuts off; the other kinds concern all nodes.
	Node string
}

// FaultKind is a part of the network.
type FaultKind string

const (
	// APIAway keeps pods from the API server. What runs on the nodes themselves
	// (kubelets, kube-proxy, the control plane) and the lab reach it as before: pods
	// still start, and logs can be read. Pods with hostNetwork count as the node.
	APIAway FaultKind = "the API server is away for pods"
	// DNSAway keeps pods from all DNS: port 53, UDP and TCP.
	DNSAway FaultKind = "the cluster's DNS is away for pods"
	// LinkDown makes a worker a black hole for other nodes and for itself. Its pods
	// go on and reach each other. After 40 to 50 s Kubernetes takes the node for dead
	// and its pods for not ready, and the lab cannot read their logs meanwhile.
	LinkDown FaultKind = "the link of a node is down"
)

// Workers returns the nodes without a control plane, which a fault may cut off.
func (s Status) Workers() (names []string) {
	for _, n := range s.Nodes {
		if !n.ControlPlane {
			names = append(names, n.Name)
		}
	}
	return names
}
