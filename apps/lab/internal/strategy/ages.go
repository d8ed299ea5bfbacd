package strategy

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// withinAges is how soon connections that end by age must lead to new pods.
type withinAges struct {
	// Ages is how many ages of a connection that takes.
	Ages int
	// Lookup is how soon observe.DNS tells the clients of new pods, where they learn of
	// them from DNS. Then every client must call every new pod.
	Lookup Delay
}

func (w withinAges) Sentence(dns observe.DNS) string {
	if w.Lookup == (Delay{}) {
		return fmt.Sprintf("new pods are called within %d ages of a connection", w.Ages)
	}
	return "every new pod within " + runner.Seconds(w.Lookup.In(dns)) + " and one age of a connection"
}

func (w withinAges) FollowsDNS() bool { return w.Lookup.FollowsDNS() }

// In returns the limit for connections of that age. gRPC varies the age by a tenth.
func (w withinAges) In(dns observe.DNS, age time.Duration) time.Duration {
	limit := time.Duration(w.Ages) * age
	if w.Lookup != (Delay{}) {
		limit = max(limit, w.Lookup.In(dns)+age+age/10)
	}
	return limit
}

// The limits of connections that end by age. In six ages three clients open so
// many that all of them miss three new pods of six once in 2^18 times.
var (
	agesByChance = withinAges{Ages: 6}
	agesByName   = withinAges{Ages: 6, Lookup: relearning}
)

// agesOf returns the limit that the clients of a strategy have.
func agesOf(byName bool) withinAges {
	if byName {
		return agesByName
	}
	return agesByChance
}

// watchAged watches a scale-out until connections have ended by age and led to
// the new pods: those of dns to every one, those of l4 to any.
func watchAged(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	return env.Await(ctx, agesOf(env.ByName).In(env.DNS, env.ConnectionAge), "the clients to see the new pods", func(f *observe.Facts) string {
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
func spreadInTime(f *observe.Facts, steady *observe.Phase, _ chance) runner.Verdict {
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
		len(steady.Clients), opened, runner.Seconds(out.End.Sub(steady.Begin).Round(time.Second)), moved, least).With("%d of %d moved", moved, opened)
}

// leastMoves is what a fair choice among n servers exceeds within
// distribution.Sigmas, and at least one.
func leastMoves(opened int64, n int) int64 {
	p := 1 - 1/float64(n)
	mean := float64(opened) * p
	return max(1, int64(math.Ceil(mean-distribution.Sigmas*math.Sqrt(mean*(1-p)))))
}

// agedSeesScaleOut wants connections that end by age to lead to new pods.
func agedSeesScaleOut(f *observe.Facts, out *observe.Phase, pairs []observe.Pair, in withinAges) runner.Verdict {
	if f.ConnectionAge == 0 {
		return runner.NotRun("connections never end by age")
	}
	limit, called, soonest, slowest := in.In(f.DNS, f.ConnectionAge), 0, time.Duration(math.MaxInt64), time.Duration(0)
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
			len(out.Clients), called, len(pairs), runner.Seconds(slowest.Round(10*time.Millisecond))).With("%s", runner.Seconds(slowest.Round(10*time.Millisecond)))
	}
	return runner.Decided(soonest <= limit, "%d clients made %d of %d first calls in %s, the soonest %s after Ready",
		len(out.Clients), called, len(pairs), runner.Seconds(f.Watched(out)), runner.Seconds(soonest.Round(10*time.Millisecond))).With("%d of %d called", called, len(pairs))
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
