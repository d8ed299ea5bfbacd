package strategy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

const (
	// leastAway is how long something is away, at least.
	leastAway = 20 * time.Second
	// newcomerTime is how long a client calls that starts meanwhile, and how long its calls
	// may take: they wait until the client learns of servers, or why it does not.
	newcomerTime = 5 * time.Second
)

// Newcomers is evidence of clients that started while something was away.
type Newcomers struct {
	// Plain is the client whose calls fail while they have no connection, Patient the one
	// whose calls wait for it; nil where none was started.
	Plain, Patient *runner.ClientResult
}

// Summaries counts the Jobs' calls.
func (n *Newcomers) Summaries() (all []calllog.Summary) {
	for _, ran := range []*runner.ClientResult{n.Plain, n.Patient} {
		if ran != nil {
			all = append(all, ran.Summary)
		}
	}
	return all
}

// without brings about a fault, and mends it once do has returned and leastAway is over, or
// as soon as there is an error. The phase's Change and Restored are its begin and its end.
func without(ctx context.Context, env *runner.Environment, p *observe.Phase, f cluster.Fault, do func(context.Context) error) (err error) {
	if err := env.Cluster.CanBreak(f.Kind); err != nil {
		return observe.Reason{Kind: observe.OutOfReach, Text: err.Error()}
	}
	env.Note("break: %s", strings.TrimSuffix(string(f.Kind)+": "+f.Node, ": "))
	mend, err := env.Cluster.Break(ctx, f)
	if err != nil {
		return err
	}
	env.Record.Update(func(*observe.Facts) { p.Change = time.Now() })
	defer func() {
		env.Note("mend")
		env.Record.Update(func(*observe.Facts) { p.Restored = time.Now() })
		err = errors.Join(err, mend(context.WithoutCancel(ctx)))
	}()
	return alongside(ctx, do, func(ctx context.Context) error { return poll.Sleep(ctx, leastAway) })
}

// startClient runs a client that starts now, with more arguments than the overlay's.
func startClient(ctx context.Context, env *runner.Environment, name string, limit time.Duration, more ...string) (*runner.ClientResult, error) {
	args := append(append([]string{}, env.Clients.Spec.Template.Spec.Containers[0].Args...), more...)
	ran, err := env.RunClient(ctx, runner.ClientJob{Name: name, Limit: limit + runner.ProbeTimeout, Args: args, MayFail: true})
	return &ran, err
}

// asksAPI says that the strategy's clients ask the API server for their servers.
func asksAPI(s runner.Strategy) bool { return len(s.Grants) > 0 }

// newcomerWorks wants that no call failed of the client that started meanwhile.
func newcomerWorks(_ *observe.Facts, p *observe.Phase, _ exactly) runner.Verdict {
	n, _ := p.Evidence.(*Newcomers)
	if n == nil || n.Plain == nil || n.Plain.Summary.Calls == 0 {
		return runner.NotRun("no client started meanwhile")
	}
	failed := distribution.Counts(n.Plain.Summary.Failures).Total()
	return runner.Decided(failed == 0, "%d of %d calls of a client that started meanwhile failed%s", failed, n.Plain.Summary.Calls, because(n.Plain)).
		With("%d of %d failed", failed, n.Plain.Summary.Calls)
}

// newcomerFails wants that all calls failed of the client that started meanwhile, with
// Unavailable and a text that names what is away.
func newcomerFails(_ *observe.Facts, p *observe.Phase, said says) runner.Verdict {
	n, _ := p.Evidence.(*Newcomers)
	if n == nil || n.Plain == nil || n.Plain.Summary.Calls == 0 {
		return runner.NotRun("no client started meanwhile")
	}
	failed := n.Plain.Summary.Failures["Unavailable"]
	holds := failed == n.Plain.Summary.Calls && strings.Contains(n.Plain.Failure, string(said))
	return runner.Decided(holds, "%d of %d calls of a client that started meanwhile failed with Unavailable%s", failed, n.Plain.Summary.Calls, because(n.Plain)).
		With("%d of %d failed", failed, n.Plain.Summary.Calls)
}

func because(ran *runner.ClientResult) string {
	if ran.Failure == "" {
		return ""
	}
	return ", the last failure: " + ran.Failure
}

// says is a text that an error must contain.
type says string

func (s says) Sentence(observe.DNS) string {
	return fmt.Sprintf("all its calls fail with Unavailable and %q", string(s))
}
