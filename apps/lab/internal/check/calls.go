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
	clientTargetRule      = callRule("client-target", "use a Service, or a hostPort, that the overlay renders")
	clientPolicyRule      = callRule("client-policy", "give the client a policy that uses all addresses, such as round_robin")
	serviceKindRule       = callRule("service-kind", "add the component headless if the client balances its calls itself; remove it if not")
	clusterIPRule         = callRule("cluster-ip", "make the Service headless and give the client a policy such as round_robin, use k8s:///, or put a mesh or a proxy between them")
	meshProtocolRule      = callRule("mesh-protocol", "set appProtocol: kubernetes.io/h2c on the Service's port")
	xdsAgentRule          = callRule("xds-agent", "inject the gRPC agent of Istio into the client's pods")
	envoyUpstreamRule     = callRule("envoy-upstream", "let Envoy's cluster name a headless Service and a port of its pods")
	envoyDiscoveryRule    = callRule("envoy-discovery", "use the cluster type envoy.clusters.dns, or STRICT_DNS, with one server for each address")
	envoyProtocolRule     = callRule("envoy-protocol", "set http2_protocol_options in the cluster's typed_extension_protocol_options")
	sessionAffinityRule   = callRule("session-affinity", "remove sessionAffinity")
	trafficPolicyRule     = callRule("traffic-policy", "remove the field, or run a server on each node that has a client")
	notReadyAddressesRule = callRule("not-ready-addresses", "remove publishNotReadyAddresses, or give peers that need it a Service of their own")
	readinessRule         = callRule("readiness", "give the container a readiness probe, such as grpc: {port: 8080}")
	disruptionBudgetRule  = callRule("disruption-budget", "set maxUnavailable: 1")
	destinationSubsetRule = callRule("destination-subset", "give the subset labels that pods have, or give the pods these labels")
	autoscalerPinnedRule  = callRule("autoscaler-pinned", "let the clients choose a server for each call")
)

// callRule is a rule whose violations are the findings of its name.
func callRule(name, remedy string) Rule { return Rule{Name: name, Remedy: remedy, finding: true} }

// findings returns what keeps calls from being balanced. The marked client of an overlay
// may use a cluster IP: l4 shows what that does.
func findings(r manifest.Rendering) []balance.Finding {
	c := balance.New(r.Objects)
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
	if client, ok := manifest.Component(r.Objects, manifest.Client); ok && !slices.ContainsFunc(paths, func(p balance.Path) bool { return p.Client.Marked }) {
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

func view(r manifest.Rendering) balance.View { return balance.New(r.Objects).View() }
