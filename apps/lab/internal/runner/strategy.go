package runner

import (
	"context"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
)

// Strategy is one overlay, or a variant of one, and what is known about it
// beforehand.
type Strategy struct {
	// Name is the overlay's or the variant's.
	Name string
	// Order is its place in the table.
	Order int
	// Follows is the strategy whose experiments are made and whose claims are
	// judged, where the overlay is a copy of another name; else it is empty.
	Follows string
	// TLS says that the overlay's server has a certificate.
	TLS bool
	// Balancer says who balances, for the table.
	Balancer string
	// NotRun says why it cannot run here; empty means that it can.
	NotRun string
	// EveryServer says that a client in its steady state calls every server.
	EveryServer bool
	// ByName says that the clients learn the servers from DNS, when they start
	// and when they lose one: what they know depends on the moment.
	ByName bool
	// Sidecar is what the cluster must inject; its zero value is nothing.
	Sidecar Sidecar
	// Gateway says that the overlay has a Gateway, of which Istio makes the proxy.
	Gateway bool
	// Proxy is the name of the pods that the overlay puts between clients and
	// servers.
	Proxy string
	// Code is what the client's program must import.
	Code string
	// Recognises says whether an overlay of any name follows the strategy. Each view
	// is recognised by one strategy at most.
	Recognises func(balance.View) bool
	// Grants is the access to Kubernetes' API that the strategy needs.
	Grants []manifest.Grant
	// Preflight checks what can be checked before any pod runs; nil checks nothing.
	Preflight *Preflighter
	// Claims are judged about it, Experiments are made with it.
	Claims      []Claim
	Experiments []Experiment
}

// Sidecar is a container that the cluster injects.
type Sidecar struct {
	// Container is its name.
	Container string
	// ClientsOnly says that only the clients get it, not every pod.
	ClientsOnly bool
	// Lacks says what it means that a pod did not get it.
	Lacks string
}

// NeedsMesh tells whether the strategy needs Istio, which injects a sidecar or makes the
// proxy of a Gateway.
func (s Strategy) NeedsMesh() bool { return s.Injected() || s.Gateway }

// Injected tells whether the cluster must inject a sidecar.
func (s Strategy) Injected() bool { return s.Sidecar.Container != "" }

// NeedsGatewayAPI tells whether the overlay, or an experiment of a run for that purpose,
// has objects of the Gateway API.
func (s Strategy) NeedsGatewayAPI(purpose Purpose) bool {
	return s.Gateway || slices.ContainsFunc(s.Experiments, func(e Experiment) bool { return e.GatewayAPI && e.servesFor(purpose) })
}

// NeedsMetrics tells whether an experiment of a run for that purpose reads
// metrics.k8s.io.
func (s Strategy) NeedsMetrics(purpose Purpose) bool {
	return slices.ContainsFunc(s.Experiments, func(e Experiment) bool { return e.Metrics && e.servesFor(purpose) })
}

// NeedsPolicies tells whether an experiment of a run for that purpose needs a cluster that
// enforces NetworkPolicies.
func (s Strategy) NeedsPolicies(purpose Purpose) bool {
	return slices.ContainsFunc(s.Experiments, func(e Experiment) bool { return e.Policies && e.servesFor(purpose) })
}

// Preflighter checks all of an overlay up to the running pod.
type Preflighter struct {
	// Claim is the number of the claim that is about what it finds.
	Claim int
	// Rights are what it takes beyond what every run does.
	Rights []Access
	Check  func(ctx context.Context, client *kube.Client, o Overlay) (*observe.Preflight, error)
}

// String names the overlay and what it follows.
func (s Strategy) String() string {
	if s.Follows == "" {
		return s.Name
	}
	return s.Name + ", which follows " + s.Follows
}
