package strategy

import (
	"context"
	"fmt"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Action is a change that somebody can ask for while strategies run.
type Action struct {
	Name string
	// Text says what it does, as a command.
	Text string
	// Back is how a change that lasts is taken back; without a name it does not last.
	Back Back
	// Whole says that it concerns the whole cluster, and so every strategy.
	Whole bool
	// Rights is the access that it takes in the strategy's namespace.
	Rights []runner.Access
	// Can says without doing anything why a cluster cannot do it; nil means that each can.
	Can func(cluster.Cluster) error
	// Do makes the change and does not wait for what follows.
	Do func(context.Context, *runner.Environment) (Done, error)
}

// Back names what takes a change back.
type Back struct{ Name, Text string }

// Done is what an action did.
type Done struct {
	// Text says what is so now. What lasts has one.
	Text string
	// Undo takes back what lasts; it can be called more than once.
	Undo func(context.Context) error
	// Over says whether what lasts has ended by itself; nil means that it does not.
	Over func(*observe.Facts) bool
}

// mostTimes bounds how far a scale-out goes, in multiples of the overlay's servers.
const mostTimes = 4

var (
	scaling    = []runner.Access{{Group: "apps", Resources: []string{"deployments/scale"}, Verbs: []string{"patch"}}}
	deleting   = []runner.Access{{Resources: []string{"pods"}, Verbs: []string{"delete"}}}
	restarting = []runner.Access{{Group: "apps", Resources: []string{"deployments"}, Verbs: []string{"patch"}}}
)

// Actions are the changes that can be made to every strategy.
var Actions = []Action{
	{Name: "scale-out", Text: "scale out", Rights: scaling, Do: once(func(ctx context.Context, env *runner.Environment) error {
		return scaleBy(ctx, env, env.Replicas())
	})},
	{Name: "scale-in", Text: "scale in", Rights: scaling, Do: once(func(ctx context.Context, env *runner.Environment) error {
		return scaleBy(ctx, env, -env.Replicas())
	})},
	{Name: "delete-pod", Text: "delete the busiest pod", Rights: deleting, Do: once(func(ctx context.Context, env *runner.Environment) error {
		return deleteBusiest(ctx, env, now(env))
	})},
	{Name: "kill", Text: "kill -9 the busiest pod", Can: cluster.Cluster.CanKill, Do: once(func(ctx context.Context, env *runner.Environment) error {
		return killBusiest(ctx, env, now(env))
	})},
	{Name: "restart", Text: "restart all servers", Rights: restarting, Do: once(rollingRestart)},
	{
		Name: "slow", Text: "make the busiest server slow", Back: Back{"fast", "make the slow server fast again"},
		Rights: []runner.Access{forwarding}, Do: slowBusiest,
	},
	{
		Name: "api-away", Text: "take the API server away", Back: Back{"api-back", "give the API server back"}, Whole: true,
		Can: canBreak(cluster.APIAway), Do: apiAway,
	},
	{
		Name: "link-down", Text: "take a node's link down", Back: Back{"link-up", "bring the node's link up"}, Whole: true,
		Can: canBreak(cluster.LinkDown), Do: linkDown,
	},
}

// once is a change that does not last.
func once(do func(context.Context, *runner.Environment) error) func(context.Context, *runner.Environment) (Done, error) {
	return func(ctx context.Context, env *runner.Environment) (Done, error) { return Done{}, do(ctx, env) }
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
