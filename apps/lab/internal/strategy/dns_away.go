package strategy

import (
	"context"
	"fmt"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// DNSAway is the name of the experiment.
const DNSAway = "dns-away"

const (
	// resolving is how long grpc-go's dns resolver waits for an answer. Until then calls wait
	// too: one with a shorter deadline fails with DeadlineExceeded, which does not say why.
	resolving = 30 * time.Second
	// lookupTime is how long a client calls that finds no name.
	lookupTime = resolving + 3*time.Second

	// failedLookup is what grpc-go's dns resolver says of a name that it cannot look up.
	failedLookup = says("record lookup error: lookup ")
)

var _ = makeOnRequest(Asked{
	Experiment: runner.Experiment{
		Name:       DNSAway,
		Steady:     noFailure,
		Change:     fmt.Sprintf("keep pods from DNS for %s at least; meanwhile start a client", runner.Seconds(leastAway)),
		Observe:    watchDNSAway,
		StartsPods: true,
		Alone:      true,
	},
	Question: "Who goes on while DNS is away, and what does a client say that starts then?",
	OneByOne: true,
	Claims: []About{
		{
			Strategies: []string{"l4", "dns", "k8s-api", "envoy", "istio", "xds"},
			Claim: runner.Claim{
				ID:        54,
				Text:      "connected clients go on while DNS is away",
				Criterion: of(DNSAway, mostInTime, undisturbed),
			},
		},
		{
			Strategies: []string{"l4", "dns", "envoy"},
			Claim: runner.Claim{
				ID:        55,
				Text:      fmt.Sprintf("a client that starts while DNS is away says so after %s", runner.Seconds(resolving)),
				Criterion: of(DNSAway, failedLookup, newcomerFails),
			},
		},
		{
			Strategies: []string{"k8s-api"},
			Claim: runner.Claim{
				ID:        56,
				Text:      "a client can start while DNS is away",
				Criterion: of(DNSAway, exactly("0 of its calls fail"), newcomerWorks),
			},
		},
	},
})

func watchDNSAway(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	return without(ctx, env, p, cluster.Fault{Kind: cluster.DNSAway}, func(ctx context.Context) error {
		if env.Strategy.Injected() {
			return nil // nothing is claimed about one that starts
		}
		lasts := lookupTime
		if asksAPI(env.Strategy) {
			lasts = newcomerTime
		}
		ran, err := startClient(ctx, env, DNSAway, lasts+resolving, "--duration="+lasts.String(), "--timeout="+(resolving+10*time.Second).String())
		env.Record.Update(func(*observe.Facts) { p.Evidence = &Newcomers{Plain: ran} })
		return err
	})
}
