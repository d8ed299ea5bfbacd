package strategy

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// ages is for how many ages of a connection a scale-out is watched, at the most:
// three clients then open so many that all of them miss three new pods of six
// once in 2^18 times.
const ages = 6

// agedLimit is how soon connections that end by age must lead to new pods.
func agedLimit(f observe.Subject) time.Duration {
	limit := ages * f.ConnectionAge
	if f.ByName {
		limit = max(limit, relearnLimit(f.DNS)+f.ConnectionAge+f.ConnectionAge/10) // gRPC varies the age by a tenth
	}
	return limit
}

// watchAged watches a scale-out until connections have ended by age and led to
// the new pods: those of dns to every one, those of l4 to any.
func watchAged(ctx context.Context, a *runner.Environment, p *observe.Phase) error {
	return a.Await(ctx, agedLimit(a.Subject), "the clients to see the new pods", func(f *observe.Facts) string {
		called, all := 0, 0
		for _, client := range p.Clients {
			some := false
			for _, server := range p.Added {
				all++
				if _, seen := f.Clients[client].First[server]; seen {
					called, some = called+1, true
				}
			}
			if !f.ByName && !some {
				return client + " has called no new pod"
			}
		}
		if f.ByName && called < all {
			return fmt.Sprintf("%d first calls are missing", all-called)
		}
		return ""
	})
}

// moves counts the connections that clients opened in a time, and how often the
// server that answered most of a window was another than in the window before.
func moves(f *observe.Facts, from, to time.Time, clients []string) (opened, moved int64) {
	for _, name := range clients {
		before := ""
		for _, w := range f.Clients[name].Between(from, to) {
			opened += w.Opened
			most := before
			for _, server := range observe.Keys(w.Servers) {
				if w.Servers[server] > w.Servers[most] {
					most = server
				}
			}
			if before != "" && most != before {
				moved++
			}
			before = most
		}
	}
	return opened, moved
}

// spreadInTime wants new connections to lead to other servers as often as chance
// does.
func spreadInTime(f *observe.Facts) runner.Verdict {
	steady, why := f.Phase(Steady)
	if steady == nil {
		return runner.NotRunFor(why)
	}
	out, why := f.Phase(ScaleOut)
	if out == nil {
		return runner.NotRunFor(why)
	}
	if len(steady.Servers) < 2 || len(steady.Clients) == 0 {
		return runner.NotRun("%d clients called %d servers: there was no other to go to", len(steady.Clients), len(steady.Servers))
	}
	opened, moved := moves(f, steady.Begin, out.End, steady.Clients)
	if opened == 0 {
		return runner.Decided(false, "no connection was opened in %s", runner.Seconds(out.End.Sub(steady.Begin).Round(time.Second)))
	}
	least := leastMoves(opened, len(steady.Servers))
	return runner.Decided(moved >= least, "%d clients opened %d connections in %s, %d led to another server (chance: %d or more)",
		len(steady.Clients), opened, runner.Seconds(out.End.Sub(steady.Begin).Round(time.Second)), moved, least)
}

// leastMoves is what a fair choice among n servers exceeds within 5 sigma, and
// at least one.
func leastMoves(opened int64, n int) int64 {
	p := 1 - 1/float64(n)
	mean := float64(opened) * p
	return max(1, int64(math.Ceil(mean-5*math.Sqrt(mean*(1-p)))))
}

// agedSeesScaleOut wants connections that end by age to lead to new pods.
func agedSeesScaleOut(f *observe.Facts) runner.Verdict {
	out, why := f.Phase(ScaleOut)
	if out == nil {
		return runner.NotRunFor(why)
	}
	pairs := f.FirstCalls(out)
	if len(pairs) == 0 || f.ConnectionAge == 0 {
		return runner.NotRun("%d servers were added beside %d clients, connections end after %s", len(out.Added), len(out.Clients), f.ConnectionAge)
	}
	limit, called, soonest, slowest := agedLimit(f.Subject), 0, time.Duration(math.MaxInt64), time.Duration(0)
	for _, c := range pairs {
		if c.Called {
			called++
			soonest, slowest = min(soonest, c.After), max(slowest, c.After)
		}
	}
	switch {
	case called == 0:
		return runner.Decided(false, "%d clients called none of %d new pods in %s", len(out.Clients), len(out.Added), runner.Seconds(f.Watched(out)))
	case f.ByName:
		return runner.Decided(called == len(pairs) && slowest <= limit, "%d clients made %d of %d first calls, the slowest %s after Ready",
			len(out.Clients), called, len(pairs), runner.Seconds(slowest.Round(10*time.Millisecond)))
	}
	return runner.Decided(soonest <= limit, "%d clients made %d of %d first calls in %s, the soonest %s after Ready",
		len(out.Clients), called, len(pairs), runner.Seconds(f.Watched(out)), runner.Seconds(soonest.Round(10*time.Millisecond)))
}

// reconnects says what ending connections costs.
func reconnects(f *observe.Facts, p *observe.Phase) report.Finding {
	var opened, failed, total int64
	for _, name := range p.Clients {
		windows := f.Clients[name].Between(p.Begin, p.End)
		failed += observe.Failures(windows)
		for _, w := range windows {
			opened, total = opened+w.Opened, total+w.Calls
		}
	}
	minutes := p.End.Sub(p.Begin).Minutes() * float64(max(len(p.Clients), 1))
	return report.Finding{
		Text: "connections that end by age fail no call", Holds: failed == 0 && total > 0,
		Measured: fmt.Sprintf("%.1f new connections a minute and client, %d of %d calls failed", float64(opened)/minutes, failed, total),
	}
}
