package experiment

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
)

// freshConnectionsSpread tests that kube-proxy chose each connection's server
// at random: it does not take turns, so counts differ, but only as chance does.
func freshConnectionsSpread(f *Facts) Verdict {
	if f.Fresh == nil {
		_, why := f.phase(FreshConnections)
		return notRun("%s", cmp.Or(why, "no fresh connection was opened"))
	}
	counts := distribution.Counts(f.Fresh.Summary.Servers).With(f.Fresh.Servers...)
	test := distribution.TestUniform(counts)
	failed := distribution.Counts(f.Fresh.Summary.Failures).Total()
	if counts.Total()+failed != f.Fresh.Wanted {
		return notRun("%d of %d connections were made", counts.Total()+failed, f.Fresh.Wanted)
	}
	if len(counts) != len(f.Fresh.Servers) {
		return decided(false, "%d servers answered, %d were ready: %s", len(counts), len(f.Fresh.Servers), strings.Join(counts.Servers(), ", "))
	}
	return decided(test.Uniform, "%s, %d failed", test, failed)
}

// oneServer looks at every client from the steady state to the end of the
// scale-out, as far as they were measured.
func oneServer(f *Facts) Verdict {
	steady, why := f.phase(Steady)
	if steady == nil {
		return notRun("%s", why)
	}
	end := steady.End
	if out, _ := f.phase(ScaleOut); out != nil {
		end = out.End
	}
	most, total := 0, int64(0)
	for _, name := range steady.Clients {
		counts := calls(f.Clients[name].between(steady.Begin, end))
		most, total = max(most, len(counts)), total+counts.Total()
		if len(counts) == 0 {
			return decided(false, "%s got no answer in %s", name, seconds(end.Sub(steady.Begin)))
		}
	}
	if len(steady.Servers) < 2 {
		return notRun("only %d server was ready: there was no other to go to", len(steady.Servers))
	}
	return decided(most == 1, "%d clients, %d calls in %s: at most %d server a client", len(steady.Clients), total, seconds(end.Sub(steady.Begin).Round(time.Second)), most)
}

// unmoved compares each client's server before a scale-out with those during
// it, and counts connections: none may open or close.
func unmoved(f *Facts) Verdict {
	out, why := f.phase(ScaleOut)
	if out == nil {
		return notRun("%s", why)
	}
	if len(out.Added) == 0 || len(out.Clients) == 0 {
		return notRun("%d servers were added beside %d clients", len(out.Added), len(out.Clients))
	}
	stayed, churn := 0, int64(0)
	for _, name := range out.Clients {
		client := f.Clients[name]
		during := client.between(out.Change, out.End)
		for _, w := range during {
			churn += w.Opened + w.Closed
		}
		before, after := calls(client.lastBefore(out.Change)).Servers(), calls(during).Servers()
		if len(before) == 1 && slices.Equal(before, after) {
			stayed++
		}
	}
	return decided(stayed == len(out.Clients) && churn == 0, "%d of %d clients stayed for %s beside %d new pods, %d connections opened or closed",
		stayed, len(out.Clients), seconds(out.End.Sub(out.Change).Round(time.Second)), len(out.Added), churn)
}
