package experiment

import (
	"fmt"
	"slices"
	"strings"
)

// Strategy is one overlay and what is known about it beforehand.
type Strategy struct {
	// Name is the overlay's.
	Name string
	// Balancer says who balances, for the table.
	Balancer string
	// NotRun says why this lab cannot run it; empty means that it can.
	NotRun string
	// EveryServer says that a client in its steady state calls every server.
	EveryServer bool
	// ByName says that the clients learn the servers from DNS, when they start
	// and when they lose one: what they know depends on the moment.
	ByName bool
	// Sidecar is the container that the cluster must inject into every pod.
	Sidecar string
	// LacksSidecar says what it means that it did not.
	LacksSidecar string
}

// Strategies lists every strategy in the order of the table.
var Strategies = []Strategy{
	{
		Name:     "l4",
		Balancer: "kube-proxy, once a connection",
	},
	{
		Name:        "dns",
		Balancer:    "client, round_robin over A records",
		EveryServer: true,
		ByName:      true,
	},
	{
		Name:        "k8s-api",
		Balancer:    "client, round_robin over EndpointSlices",
		EveryServer: true,
	},
	{
		Name:     "linkerd",
		Balancer: "Linkerd 1, a proxy on each node",
		NotRun:   "needs the image buoyantio/linkerd:1.7.5, which this lab does not build",
	},
	{
		Name:         "istio",
		Balancer:     "Envoy sidecar of each client",
		EveryServer:  true,
		Sidecar:      sidecarName,
		LacksSidecar: "Istio is not installed",
	},
}

// Runnable returns the names of the strategies that this lab can run.
func Runnable() []string {
	var names []string
	for _, s := range Strategies {
		if s.NotRun == "" {
			names = append(names, s.Name)
		}
	}
	return names
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
			return nil, fmt.Errorf("experiment: overlay %q is no strategy of this lab, expected some of %s", o, strings.Join(names(), ", "))
		}
	}
	return some, nil
}

func names() []string {
	var all []string
	for _, s := range Strategies {
		all = append(all, s.Name)
	}
	return all
}
