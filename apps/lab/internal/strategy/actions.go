package strategy

import (
	"context"
	"errors"
	"fmt"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Action is a change that somebody can ask for while strategies run.
type Action struct {
	Name string
	// Text says what it does, as a command.
	Text string
	// Do makes the change and does not wait for what follows.
	Do func(context.Context, *runner.Environment) error
}

// mostTimes bounds how far a scale-out goes, in multiples of the overlay's servers.
const mostTimes = 4

// Actions are the changes that can be made to every strategy.
var Actions = []Action{
	{"scale-out", "scale out", func(ctx context.Context, env *runner.Environment) error { return scaleBy(ctx, env, env.Replicas()) }},
	{"scale-in", "scale in", func(ctx context.Context, env *runner.Environment) error { return scaleBy(ctx, env, -env.Replicas()) }},
	{"delete-pod", "delete the busiest pod", func(ctx context.Context, env *runner.Environment) error { return deleteBusiest(ctx, env, now(env)) }},
	{"kill", "kill -9 the busiest pod", func(ctx context.Context, env *runner.Environment) error {
		err := killBusiest(ctx, env, now(env))
		if errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("this cluster does not let the lab kill a process: %w", err)
		}
		return err
	}},
	{"restart", "restart all servers", rollingRestart},
}

// now is a phase that begins at this moment.
func now(env *runner.Environment) *observe.Phase {
	p := &observe.Phase{}
	env.Record.Look(func(f *observe.Facts) { p.Clients, p.Servers = f.Running(), f.ReadyNow() })
	return p
}

// scaleBy changes the number of servers from what is ready now.
func scaleBy(ctx context.Context, env *runner.Environment, more int) error {
	ready := len(now(env).Servers)
	wanted := min(max(ready+more, 1), mostTimes*env.Replicas())
	if wanted == ready {
		return fmt.Errorf("%d servers are ready, and the lab goes from 1 to %d", ready, mostTimes*env.Replicas())
	}
	return env.Scale(ctx, env.Server, wanted)
}
