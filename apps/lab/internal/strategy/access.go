package strategy

import "github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"

// executing runs a program in a pod. Which of the verbs a WebSocket needs depends
// on the API server's version.
var executing = runner.Access{Resources: []string{"pods/exec"}, Verbs: []string{"create", "get"}}

// forwarding reaches a port of a pod, by the same verbs.
var forwarding = runner.Access{Resources: []string{"pods/portforward"}, Verbs: []string{"create", "get"}}

// nodesListed looks at all nodes.
var nodesListed = runner.Access{Resources: []string{"nodes"}, Verbs: []string{"list"}, Everywhere: true}

// always returns the access that an experiment takes with every strategy that it
// is made with.
func always(access ...runner.Access) func(runner.Strategy) []runner.Access {
	return func(runner.Strategy) []runner.Access { return access }
}
