package strategy

import (
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

var _ = add(runner.Strategy{
	Name: "l4-max-age", Order: 20,
	Recognises: func(v balance.View) bool { return v.Dials(v.Server) && !v.UsesAll && v.MaxConnectionAge != "" },
	Balancer:   "kube-proxy; connections end by age",
	Claims: []runner.Claim{
		{
			ID:        38,
			Text:      "with MaxConnectionAge clients spread in time",
			Criterion: of(Steady, chance("new connections lead to other servers as often as"), spreadInTime),
		},
		{
			ID:        39,
			Text:      "with MaxConnectionAge a scale-out is seen",
			Criterion: ofAdded(agesByChance, agedSeesScaleOut),
		},
	},
})
