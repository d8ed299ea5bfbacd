package strategy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Names of experiments, by which claims find their phases.
const (
	FreshConnections = "fresh-connections"
)

const freshConnections = 300

var _ = add(runner.Strategy{
	Name: "l4", Order: 10,
	Recognises: func(v balance.View) bool { return v.Dials(v.Server) && !v.UsesAll && v.MaxConnectionAge == "" },
	Balancer:   "kube-proxy, one choice per connection",
	Claims: []runner.Claim{
		{
			ID:        1,
			Text:      "new connections to the ClusterIP are spread over the servers",
			Criterion: of(FreshConnections, chance("what"), freshConnectionsSpread),
		},
		{
			ID:        2,
			Text:      "a client stays on one server",
			Criterion: of(Steady, serversAClient(1), oneServer),
		},
		{
			ID:        3,
			Text:      "a scale-out changes nothing for connected clients",
			Criterion: ofAdded(exactly("same server, no connection opened or closed"), unmoved),
		},
	},
	Experiments: []runner.Experiment{
		{
			Name: FreshConnections, Purpose: runner.Prove,
			Steady:  noFailure,
			Change:  fmt.Sprintf("a Job makes %d calls, each on a connection of its own", freshConnections),
			Observe: openConnections,
		},
	},
})

// Fresh counts the calls of clients that made each on a new connection.
type Fresh struct {
	Wanted  int64
	Summary calllog.Summary
	Servers []string // ready at the time
}

// Summaries counts the Job's calls.
func (f *Fresh) Summaries() []calllog.Summary { return []calllog.Summary{f.Summary} }

// openConnections runs the clients that connect anew for each call.
func openConnections(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	to, err := runner.Target(env.Clients.Spec.Template)
	if err != nil {
		return err
	}
	ran, err := env.RunClient(ctx, runner.ClientJob{
		Name: FreshConnections, Limit: runner.ProbeTimeout,
		Args: []string{to, fmt.Sprintf("--fresh-connections=%d", freshConnections)},
	})
	if err != nil {
		return err
	}
	env.Record.Update(func(*observe.Facts) {
		p.Evidence = &Fresh{Wanted: freshConnections, Summary: ran.Summary, Servers: p.Servers}
	})
	return nil
}

// freshConnectionsSpread tests that kube-proxy chose each connection's server
// at random: it does not take turns, so counts differ, but only as chance does.
func freshConnectionsSpread(f *observe.Facts, _ *observe.Phase, _ chance) runner.Verdict {
	fresh := observe.EvidenceOf[*Fresh](f, FreshConnections)
	if fresh == nil {
		return runner.NotRun("no fresh connection was opened")
	}
	counts := distribution.Counts(fresh.Summary.Servers).With(fresh.Servers...)
	test := distribution.TestUniform(counts)
	failed := distribution.Counts(fresh.Summary.Failures).Total()
	if counts.Total()+failed != fresh.Wanted {
		return runner.NotRun("%d of %d connections were made", counts.Total()+failed, fresh.Wanted)
	}
	if len(counts) != len(fresh.Servers) {
		return runner.Decided(false, "%d servers answered, %d were ready: %s", len(counts), len(fresh.Servers), strings.Join(counts.Servers(), ", "))
	}
	return runner.Decided(test.Uniform, "%s, %d failed", test, failed).With("p = %.2g", min(test.ChiSquareP, test.WorstP))
}

// oneServer looks at every client from the steady state to the end of the
// scale-out, as far as they were measured.
func oneServer(f *observe.Facts, steady *observe.Phase, limit serversAClient) runner.Verdict {
	end := steady.End
	if out, _ := f.Phase(ScaleOut); out != nil {
		end = out.End
	}
	most, total := 0, int64(0)
	for _, name := range steady.Clients {
		counts := observe.Calls(f.Clients[name].Between(steady.Begin, end))
		most, total = max(most, len(counts)), total+counts.Total()
		if len(counts) == 0 {
			return runner.Decided(false, "%s got no answer in %s", name, runner.Seconds(end.Sub(steady.Begin)))
		}
	}
	if len(steady.Servers) < 2 {
		return runner.NotRun("only %d server was ready: there was no other to go to", len(steady.Servers))
	}
	return runner.Decided(most <= int(limit), "%d clients, %d calls in %s: at most %d server a client", len(steady.Clients), total, runner.Seconds(end.Sub(steady.Begin).Round(time.Second)), most).With("%d server a client", most)
}

// unmoved compares each client's server before a scale-out with those during
// it, and counts connections: none may open or close.
func unmoved(f *observe.Facts, out *observe.Phase, _ []observe.Pair, _ exactly) runner.Verdict {
	stayed, churn := 0, int64(0)
	for _, name := range out.Clients {
		client := f.Clients[name]
		during := client.Between(out.Change, out.End)
		for _, w := range during {
			churn += w.Opened + w.Closed
		}
		before, after := observe.Calls(client.LastBefore(out.Change)).Servers(), observe.Calls(during).Servers()
		if len(before) == 1 && slices.Equal(before, after) {
			stayed++
		}
	}
	return runner.Decided(stayed == len(out.Clients) && churn == 0, "%d of %d clients stayed for %s beside %d new pods, %d connections opened or closed",
		stayed, len(out.Clients), runner.Seconds(out.End.Sub(out.Change).Round(time.Second)), len(out.Added), churn).With("%d of %d stayed", stayed, len(out.Clients))
}

// serversAClient is the largest number of servers that answer one client.
type serversAClient int

func (n serversAClient) Sentence(observe.DNS) string {
	return fmt.Sprintf("%d server a client", int(n))
}
