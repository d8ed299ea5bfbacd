// Package policy lists gRPC's balancing policies that the programs offer, and
// registers them. To add a policy, add an entry to All and, if gRPC does not
// register the policy itself, its import.
package policy

import (
	"cmp"
	"fmt"
	"time"

	_ "google.golang.org/grpc/balancer/leastrequest"       // registers least_request_experimental
	_ "google.golang.org/grpc/balancer/weightedroundrobin" // registers weighted_round_robin

	"github.com/grpc-lb/grpc-lb/apps/peakewma"
)

// Policy is a balancer, and how the programs configure it.
type Policy struct {
	// Name is the name in gRPC's registry and the value of --lb-policy.
	Name string
	// Config is the JSON of the configuration that --lb-policy selects. It is empty if
	// that is gRPC's default.
	Config string
	// SlowConfig is the configuration with which `lab slow` measures the policy. It is
	// empty if that is Config.
	SlowConfig string
	// WarmUp is how long a client calls before `lab slow` counts its calls.
	WarmUp time.Duration
}

const warmUp = 2 * time.Second

// All lists the policies in the order in which help and tables show them.
var All = []Policy{
	// With the default configuration all clients would choose the same server.
	{Name: "pick_first", SlowConfig: `{"shuffleAddressList":true}`, WarmUp: warmUp},
	{Name: "round_robin", WarmUp: warmUp},
	{Name: "least_request_experimental", WarmUp: warmUp},
	// A report with each answer, gRPC's default, would cost every call what one a second
	// tells as well: the policy computes its weights anew each second. It calls servers in
	// turn until it has known their weights for 10 s.
	{Name: "weighted_round_robin", Config: `{"enableOobLoadReport":true,"oobReportingPeriod":"1s"}`, WarmUp: 13 * time.Second},
	{Name: peakewma.Name, WarmUp: warmUp},
}

// Names returns the names of all policies.
func Names() []string {
	var names []string
	for _, p := range All {
		names = append(names, p.Name)
	}
	return names
}

// ServiceConfig returns a gRPC service config, in JSON, that selects the named
// policy. An empty config, in JSON too, stands for that of All, else for gRPC's default.
func ServiceConfig(name, config string) string {
	for _, p := range All {
		if p.Name == name {
			config = cmp.Or(config, p.Config)
		}
	}
	return fmt.Sprintf(`{"loadBalancingConfig":[{%q:%s}]}`, name, cmp.Or(config, "{}"))
}
