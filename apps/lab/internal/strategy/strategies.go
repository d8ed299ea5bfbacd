package strategy

import (
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

const lacksIstio = "Istio is not installed"

// strategies lists every strategy in the order of the table.
var strategies = []runner.Strategy{
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
		Preflight: &runner.Preflighter{Claim: 17, Check: preflight, Rights: []runner.Access{
			nodesListed,
			{Resources: []string{"pods"}, Verbs: []string{"list"}, Everywhere: true},
			{Group: "authorization.k8s.io", Resources: []string{"subjectaccessreviews"}, Verbs: []string{"create"}, Everywhere: true},
		}},
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

// All returns every strategy in the order of the table.
func All() []runner.Strategy {
	all := slices.Clone(strategies)
	for i := range all {
		all[i].Claims = Of(all[i].Name)
	}
	return all
}

// Named returns what the overlays are measured as, in the order of the table: a
// strategy, or an overlay of another name that follows one.
func Named(repository *manifest.Repository, overlays []string) ([]runner.Strategy, error) {
	followers := map[string][]string{}
	for _, name := range overlays {
		if slices.ContainsFunc(All(), func(s runner.Strategy) bool { return s.Name == name }) {
			continue
		}
		follows, err := repository.Strategy(name)
		if err != nil {
			return nil, err
		}
		followers[follows] = append(followers[follows], name)
	}
	var some []runner.Strategy
	for _, s := range All() {
		if slices.Contains(overlays, s.Name) {
			some = append(some, s)
		}
		for _, name := range followers[s.Name] {
			follower := s
			follower.Name, follower.Follows = name, s.Name
			follower.Claims = slices.DeleteFunc(slices.Clone(s.Claims), func(c runner.Claim) bool { return c.Own })
			some = append(some, follower)
		}
	}
	return some, nil
}
