package experiment

import (
	"cmp"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Strategy is one overlay, or a variant of one, and what is known about it
// beforehand.
type Strategy struct {
	// Name is the overlay's or the variant's.
	Name string
	// Follows is the strategy whose experiments are made and whose claims are
	// judged, where the overlay is a copy of another name; else it is empty.
	Follows string
	// Balancer says who balances, for the table.
	Balancer string
	// NotRun says why it cannot run here; empty means that it can.
	NotRun string
	// EveryServer says that a client in its steady state calls every server.
	EveryServer bool
	// ByName says that the clients learn the servers from DNS, when they start
	// and when they lose one: what they know depends on the moment.
	ByName bool
	// Sidecar is the container that the cluster must inject: into every pod, or
	// into the clients alone.
	Sidecar     string
	ClientsOnly bool
	// LacksSidecar says what it means that it did not.
	LacksSidecar string
	// Proxy is the name of the pods that the overlay puts between clients and
	// servers.
	Proxy string
	// Code is what the client's program must import.
	Code string
}

const lacksIstio = "Istio is not installed"

// Strategies lists every strategy in the order of the table.
var Strategies = []Strategy{
	{
		Name:     "l4",
		Balancer: "kube-proxy, once a connection",
	},
	{
		Name:     "l4-max-age",
		Balancer: "kube-proxy, and connections end by age",
	},
	{
		Name:        "dns",
		Balancer:    "client, round_robin over A records",
		EveryServer: true,
		ByName:      true,
	},
	{
		Name:        "dns-max-age",
		Balancer:    "client, over A records, and connections end by age",
		EveryServer: true,
		ByName:      true,
	},
	{
		Name:        "k8s-api",
		Balancer:    "client, round_robin over EndpointSlices",
		EveryServer: true,
		Code:        "apps/k8sresolver",
	},
	{
		Name:        "linkerd",
		Balancer:    "Linkerd 1, a proxy on each node",
		EveryServer: true,
		Proxy:       "l5d",
	},
	{
		Name:        "envoy",
		Balancer:    "Envoy, a Deployment between them",
		EveryServer: true,
		Proxy:       "envoy",
	},
	{
		Name:         "istio",
		Balancer:     "Envoy sidecar of each client",
		EveryServer:  true,
		Sidecar:      sidecarName,
		LacksSidecar: lacksIstio,
	},
	{
		Name:         "xds",
		Balancer:     "client, by xDS from istiod",
		EveryServer:  true,
		Sidecar:      sidecarName,
		ClientsOnly:  true,
		LacksSidecar: lacksIstio,
		Code:         "google.golang.org/grpc/xds",
	},
}

// Named returns what the overlays are measured as, in the order of the table: a
// strategy, or an overlay of another name that follows one.
func Named(repository *manifest.Repository, overlays []string) ([]Strategy, error) {
	followers := map[string][]string{}
	for _, name := range overlays {
		if slices.ContainsFunc(Strategies, func(s Strategy) bool { return s.Name == name }) {
			continue
		}
		follows, err := repository.Strategy(name)
		if err != nil {
			return nil, err
		}
		followers[follows] = append(followers[follows], name)
	}
	var some []Strategy
	for _, s := range Strategies {
		if slices.Contains(overlays, s.Name) {
			some = append(some, s)
		}
		for _, name := range followers[s.Name] {
			follower := s
			follower.Name, follower.Follows = name, s.Name
			some = append(some, follower)
		}
	}
	return some, nil
}

// kind is the name by which experiments and claims know the strategy.
func (s Strategy) kind() string { return cmp.Or(s.Follows, s.Name) }

// claims returns what is claimed about the overlay.
func (s Strategy) claims() []Claim {
	return slices.DeleteFunc(Of(s.kind()), func(c Claim) bool { return c.own && s.Follows != "" })
}

// String names the overlay and what it follows.
func (s Strategy) String() string {
	if s.Follows == "" {
		return s.Name
	}
	return s.Name + ", which follows " + s.Follows
}
