package strategy

import (
	"context"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// The steady states in which experiments begin.
var (
	serversReady = runner.State{
		Text: "all servers are ready",
		Hold: func(ctx context.Context, env *runner.Environment) error { return env.ServersReady(ctx, env.Replicas()) },
	}
	noFailure         = steady("all servers are ready, the clients' last two windows are free of failures", 1, false)
	everyServerCalled = steady("all servers are ready, the clients' last two windows are free of failures and name every server that they should", 1, true)
	twiceAsMany       = steady("twice as many servers are ready, the clients' last two windows are free of failures", 2, false)
)

// steady is a state with times as many servers as the overlay has.
func steady(text string, times int, everyServer bool) runner.State {
	return runner.State{Text: text, Hold: func(ctx context.Context, env *runner.Environment) error {
		return env.Steady(ctx, times*env.Replicas(), everyServer)
	}}
}
