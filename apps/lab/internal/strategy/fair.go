package strategy

import (
	"fmt"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// fair is the least Jain's index of a balancer that picks at random and spares
// servers that are slow for a moment, as least request does. Turns would give 1.
// Over all clients chance stays far above Together, over one client's calls it
// does not.
type fair struct{ Together, Each float64 }

func (l fair) Sentence(observe.DNS) string {
	return fmt.Sprintf("every client calls every server, Jain >= %.2f over all clients and >= %.2f for each", l.Together, l.Each)
}

// fairness adds up how evenly clients called.
type fairness struct {
	least    float64 // of the clients' own indices
	together distribution.Counts
}

func newFairness() *fairness { return &fairness{least: 1, together: distribution.Counts{}} }

func (f *fairness) add(client distribution.Counts) {
	f.least, f.together = min(f.least, client.Jain()), f.together.Plus(client)
}

func (f *fairness) keeps(l fair) bool { return f.together.Jain() >= l.Together && f.least >= l.Each }

func (f *fairness) String() string {
	return fmt.Sprintf("Jain %.3f over all, >= %.3f for each", f.together.Jain(), f.least)
}

// spreadFairly wants every client to call every server about evenly in the steady
// state.
func spreadFairly(f *observe.Facts, steady *observe.Phase, limit fair) runner.Verdict {
	if len(steady.Servers) < 2 || len(steady.Clients) == 0 {
		return runner.NotRun("%d clients called %d servers: nothing to spread", len(steady.Clients), len(steady.Servers))
	}
	even := newFairness()
	for _, name := range steady.Clients {
		counts := observe.Calls(f.Clients[name].Between(steady.Begin, steady.End)).With(steady.Servers...)
		if idle := counts.Idle(); len(idle) > 0 {
			return runner.Decided(false, "%s did not call %s", name, strings.Join(idle, ", "))
		}
		even.add(counts)
	}
	return runner.Decided(even.keeps(limit), "%d calls of %d clients to %d servers: %s", even.together.Total(), len(steady.Clients), len(steady.Servers), even).With("Jain %.3f", even.together.Jain())
}

// lossless is the least share of calls that are answered in time where something
// is taken away that must not be missed. The others may be late; none is lost.
type lossless float64

func (l lossless) keptBy(inTime, all int64) bool { return float64(inTime) >= float64(l)*float64(all) }

func (l lossless) Sentence(observe.DNS) string {
	return fmt.Sprintf("no call is lost, %.0f %% are in time", 100*float64(l))
}

// lateness counts the calls that missed their deadline, as on a slow machine some
// do; every other failure is a call that was lost.
func lateness(windows []calllog.Window) (late int64) {
	for _, w := range windows {
		late += w.Failures["DeadlineExceeded"]
	}
	return late
}
