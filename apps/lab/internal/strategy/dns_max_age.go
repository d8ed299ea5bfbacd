package strategy

import (
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

var _ = add(runner.Strategy{
	Name: "dns-max-age", Order: 40,
	Recognises:  func(v balance.View) bool { return v.Dials(v.Server) && v.UsesAll && v.MaxConnectionAge != "" },
	Balancer:    "client, over A records; connections end by age",
	EveryServer: true,
	ByName:      true,
	Claims: []runner.Claim{
		{
			ID:        40,
			Text:      "with MaxConnectionAge clients see a scale-out while no server leaves",
			Criterion: ofAdded(agesByName, agedSeesScaleOut),
		},
	},
})
