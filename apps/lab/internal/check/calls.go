package check

import (
	"fmt"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Rules about how the calls of each client reach their servers. Package balance
// judges; a finding of it has the name of its rule.
var (
	clientTargetRule      = callRule("client-target")
	clientPolicyRule      = callRule("client-policy")
	serviceKindRule       = callRule("service-kind")
	clusterIPRule         = callRule("cluster-ip")
	meshProtocolRule      = callRule("mesh-protocol")
	meshBypassRule        = callRule("mesh-bypass")
	xdsAgentRule          = callRule("xds-agent")
	envoyUpstreamRule     = callRule("envoy-upstream")
	envoyDiscoveryRule    = callRule("envoy-discovery")
	envoyProtocolRule     = callRule("envoy-protocol")
	grpcRouteRule         = callRule("grpc-route")
	certificateNameRule   = callRule("certificate-name")
	sessionAffinityRule   = callRule("session-affinity")
	trafficPolicyRule     = callRule("traffic-policy")
	notReadyAddressesRule = callRule("not-ready-addresses")
	readinessRule         = callRule("readiness")
	disruptionBudgetRule  = callRule("disruption-budget")
	destinationSubsetRule = callRule("destination-subset")
	autoscalerPinnedRule  = callRule("autoscaler-pinned")
	networkPolicyRule     = callRule("network-policy")
)

// callRule is a rule whose violations are the findings of its name.
func callRule(name string) Rule {
	return Rule{Name: name, Remedy: balance.KindOf(name).Change, finding: true}
}

// findings returns what keeps calls from being balanced. The marked client of an overlay
// may use a cluster IP: l4 shows what that does.
func findings(r manifest.Rendering) []balance.Finding {
	c := cluster(r)
	var all []balance.Finding
	paths := c.Paths()
	for _, p := range paths {
		for _, f := range p.Findings {
			shown := f.Name == "cluster-ip" && p.Client.Marked && r.Name != ""
			if !f.Advice && !shown {
				all = append(all, f)
			}
		}
		if p.Elsewhere != "" && p.Client.Marked {
			all = append(all, nowhere(p.Client.Pods.Object, p.Client.Target.Text, "leads to %q, and to nothing that the overlay renders", p.Elsewhere))
		}
	}
	if client, ok := manifest.Component(r.Objects, manifest.Client); ok && r.Name != "" && !slices.ContainsFunc(paths, func(p balance.Path) bool { return p.Client.Marked }) {
		all = append(all, nowhere(client, "", "is not set, expected --target or the variable TARGET"))
	}
	all = append(all, c.ServiceFindings()...)
	for _, w := range c.Proxies() { // also those to which no client here leads
		up, _ := c.Upstream(w)
		all = append(all, up.Findings...)
	}
	return all
}

func nowhere(client manifest.Object, target, format string, args ...any) balance.Finding {
	return balance.Finding{Name: "client-target", Object: client, Value: target, Seen: fmt.Sprintf("target %q: %s", target, fmt.Sprintf(format, args...))}
}

// cluster is where the objects will be. A rendering without a name is of any origin.
func cluster(r manifest.Rendering) *balance.Cluster {
	if r.Name == "" {
		return balance.Foreign(r.Objects)
	}
	return balance.New(r.Objects)
}

func view(r manifest.Rendering) balance.View { return balance.New(r.Objects).View() }
