package experiment

import (
	"fmt"
	"slices"
	"strings"
)

// Strategy is one overlay, or a variant of one, and what is known about it
// beforehand.
type Strategy struct {
	// Name is the overlay's or the variant's.
	Name string
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

// named returns the strategies of those overlays, in the order of the table.
func named(overlays []string) ([]Strategy, error) {
	var some []Strategy
	for _, s := range Strategies {
		if slices.Contains(overlays, s.Name) {
			some = append(some, s)
		}
	}
	for _, o := range overlays {
		if !slices.ContainsFunc(some, func(s Strategy) bool { return s.Name == o }) {
			return nil, fmt.Errorf("experiment: overlay %q is no strategy of this lab, expected some of %s", o, strings.Join(strategyNames(), ", "))
		}
	}
	return some, nil
}

func strategyNames() []string {
	var all []string
	for _, s := range Strategies {
		all = append(all, s.Name)
	}
	return all
}
