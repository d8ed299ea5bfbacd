package strategy

import (
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// gatewayName names the overlay's Gateway, and the pods of its proxy.
const gatewayName = "echo-gateway"

var _ = add(runner.Strategy{
	Name: "gateway", Order: 75,
	Recognises:  func(v balance.View) bool { return v.Gateway != "" && v.Mesh == balance.NoMesh },
	Balancer:    "Envoy, which Istio makes of a Gateway",
	EveryServer: true,
	Proxy:       gatewayName,
	Gateway:     true,
	Claims: []runner.Claim{
		{
			ID:        70,
			Text:      "the Gateway's proxy spreads every client's calls",
			Criterion: of(Steady, evenEnough, spreadFairly),
		},
		{
			ID:        71,
			Text:      "after a scale-out the Gateway's proxy sends calls of every client to every new pod",
			Goal:      newPodGoal,
			Criterion: ofAdded(newPod, called),
		},
	},
})
