package strategy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// freshConnectionsSpread tests that kube-proxy chose each connection's server
// at random: it does not take turns, so counts differ, but only as chance does.
func freshConnectionsSpread(f *observe.Facts) runner.Verdict {
	if f.Fresh == nil {
		_, why := f.Phase(FreshConnections)
		return runner.NotRunFor(cmp.Or(why, observe.Reason{Text: "no fresh connection was opened"}))
	}
	counts := distribution.Counts(f.Fresh.Summary.Servers).With(f.Fresh.Servers...)
	test := distribution.TestUniform(counts)
	failed := distribution.Counts(f.Fresh.Summary.Failures).Total()
	if counts.Total()+failed != f.Fresh.Wanted {
		return runner.NotRun("%d of %d connections were made", counts.Total()+failed, f.Fresh.Wanted)
	}
	if len(counts) != len(f.Fresh.Servers) {
		return runner.Decided(false, "%d servers answered, %d were ready: %s", len(counts), len(f.Fresh.Servers), strings.Join(counts.Servers(), ", "))
	}
	return runner.Decided(test.Uniform, "%s, %d failed", test, failed)
}

// oneServer looks at every client from the steady state to the end of the
// scale-out, as far as they were measured.
func oneServer(f *observe.Facts) runner.Verdict {
	steady, why := f.Phase(Steady)
	if steady == nil {
		return runner.NotRunFor(why)
	}
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
	return runner.Decided(most == 1, "%d clients, %d calls in %s: at most %d server a client", len(steady.Clients), total, runner.Seconds(end.Sub(steady.Begin).Round(time.Second)), most)
}

// unmoved compares each client's server before a scale-out with those during
// it, and counts connections: none may open or close.
func unmoved(f *observe.Facts) runner.Verdict {
	out, why := f.Phase(ScaleOut)
	if out == nil {
		return runner.NotRunFor(why)
	}
	if len(out.Added) == 0 || len(out.Clients) == 0 {
		return runner.NotRun("%d servers were added beside %d clients", len(out.Added), len(out.Clients))
	}
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
		stayed, len(out.Clients), runner.Seconds(out.End.Sub(out.Change).Round(time.Second)), len(out.Added), churn)
}
