package strategy

import (
	"fmt"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// settle is how long after an endpoint event a client may still be applying it.
const settle = 2 * time.Second

// recordsFollow needs one look-up that equals the ready pods in time. One that
// came later decides against: the records cannot have followed before it.
func recordsFollow(f *observe.Facts) runner.Verdict {
	out, why := f.Phase(ScaleOut)
	if out == nil {
		return runner.NotRunFor(why)
	}
	limit := f.DNS.MaxStaleness()
	for _, l := range f.Lookups {
		after := l.At.Sub(l.Since)
		if l.At.Before(out.Change) || len(l.Ready) != len(out.Servers)+len(out.Added) {
			continue
		}
		if slices.Equal(l.Addresses, l.Ready) {
			return runner.Decided(after <= limit, "%d records for %d ready pods %s after the last became ready", len(l.Addresses), len(l.Ready), runner.Seconds(after.Round(10*time.Millisecond)))
		}
		if after >= limit {
			return runner.Decided(false, "%d records for %d ready pods %s after the last became ready", len(l.Addresses), len(l.Ready), runner.Seconds(after.Round(10*time.Millisecond)))
		}
	}
	return runner.NotRun("%d look-ups, none of them after every new pod was ready and none at the limit", len(f.Lookups))
}

// even takes every stretch of windows that begins and ends at a barrier, with no
// endpoint event, no connection opened or closed and no failed call inside, and
// wants it exact.
func even(f *observe.Facts) runner.Verdict {
	steady, why := f.Phase(Steady)
	if steady == nil {
		return runner.NotRunFor(why)
	}
	if len(steady.Servers) < 2 {
		return runner.NotRun("only %d server was ready: nothing to spread over", len(steady.Servers))
	}
	worst, total, cut := int64(0), int64(0), 0
	for _, name := range steady.Clients {
		found := false
		for _, stretch := range stretches(f, f.Clients[name].Between(steady.Begin, steady.End)) {
			counts := observe.Calls(stretch).With(steady.Servers...)
			if counts.Total() < int64(2*len(steady.Servers)) {
				continue // too few to be uneven
			}
			found, cut, total = true, cut+1, total+counts.Total()
			worst = max(worst, counts.MaxMinusMin())
			if len(counts) > len(steady.Servers) {
				return runner.Decided(false, "%s was answered by %v, ready were %v", name, counts.Servers(), steady.Servers)
			}
		}
		if !found {
			return runner.NotRun("%s had no two barriers without an update, a failure or a new connection between", name)
		}
	}
	return runner.Decided(worst <= 1, "max - min = %d over %d calls of %d clients in %d stretches", worst, total, len(steady.Clients), cut)
}

// stretches cuts a client's windows where the set of servers may have changed,
// and at calls that failed, of which nobody knows whose they were.
func stretches(f *observe.Facts, windows []calllog.Window) [][]calllog.Window {
	var all [][]calllog.Window
	var run []calllog.Window
	open := false // whether the window before ended at a barrier
	lastBarrier := 0
	end := func() {
		if lastBarrier > 0 {
			all = append(all, run[:lastBarrier])
		}
		run, lastBarrier = nil, 0
	}
	for _, w := range windows {
		undisturbed := observe.Failures([]calllog.Window{w}) == 0 && w.Opened == 0 && w.Closed == 0 && !endpointsMoved(f, w.Start, w.End)
		switch {
		case !undisturbed:
			end()
		case len(run) > 0 || open:
			run = append(run, w)
			if w.Barrier {
				lastBarrier = len(run)
			}
		}
		open = w.Barrier
	}
	end()
	return all
}

func endpointsMoved(f *observe.Facts, from, to time.Time) bool {
	return slices.ContainsFunc(f.Endpoints, func(e observe.EndpointEvent) bool {
		return e.At.Add(settle).After(from) && e.At.Before(to)
	})
}

// missed wants that no client called a pod that a scale-out added.
func missed(f *observe.Facts) runner.Verdict {
	out, why := f.Phase(ScaleOut)
	if out == nil {
		return runner.NotRunFor(why)
	}
	pairs := f.FirstCalls(out)
	if len(pairs) == 0 {
		return runner.NotRun("%d servers were added beside %d clients", len(out.Added), len(out.Clients))
	}
	called := 0
	for _, p := range pairs {
		if p.Called {
			called++
		}
	}
	return runner.Decided(called == 0, "%d clients called %d of %d new pods in %s after the last was ready", len(out.Clients), called, len(out.Added), runner.Seconds(f.Watched(out)))
}

// relearned wants every client that was connected before the scale-out to call
// every pod that it had missed.
func relearned(f *observe.Facts) runner.Verdict {
	left, why := f.Phase(ServerLeaves)
	if left == nil {
		return runner.NotRunFor(why)
	}
	out, why := f.Phase(ScaleOut)
	if out == nil {
		return runner.NotRunFor(why)
	}
	if len(out.Added) == 0 || len(left.Clients) == 0 {
		return runner.NotRun("%d servers were added beside %d clients", len(out.Added), len(left.Clients))
	}
	if !slices.Contains(out.Servers, left.Left) {
		return runner.NotRun("no original server left, but %q", left.Left)
	}
	limit, slowest := relearnLimit(f.DNS), time.Duration(0)
	for _, client := range left.Clients {
		for _, server := range out.Added {
			at, called := f.Clients[client].First[server]
			switch {
			case !called:
				return runner.Decided(false, "%s did not call %s in %s", client, server, runner.Seconds(left.End.Sub(left.Change).Round(time.Second)))
			case at.Before(left.Change):
				return runner.NotRun("%s had called %s before the server left", client, server)
			}
			slowest = max(slowest, at.Sub(left.Change))
		}
	}
	return runner.Decided(slowest <= limit, "%d clients called all %d new pods %s after the server was deleted", len(left.Clients), len(out.Added), runner.Seconds(slowest.Round(10*time.Millisecond)))
}

// calledWithin wants every client to call every added pod soon after the watch
// said that it is ready.
func calledWithin(limit func(observe.DNS) time.Duration) func(*observe.Facts) runner.Verdict {
	return func(f *observe.Facts) runner.Verdict {
		out, why := f.Phase(ScaleOut)
		if out == nil {
			return runner.NotRunFor(why)
		}
		pairs := f.FirstCalls(out)
		if len(pairs) == 0 {
			return runner.NotRun("%d servers were added beside %d clients", len(out.Added), len(out.Clients))
		}
		var slowest time.Duration
		for _, p := range pairs {
			if !p.Called {
				return runner.Decided(false, "%s did not call %s in %s", p.Client, p.Server, runner.Seconds(f.Watched(out)))
			}
			slowest = max(slowest, p.After)
		}
		return runner.Decided(slowest <= limit(f.DNS), "%d clients called all %d new pods, the slowest %s after Ready", len(out.Clients), len(out.Added), runner.Seconds(slowest.Round(10*time.Millisecond)))
	}
}

// pairsText counts the pairs that were called and names the slowest.
func pairsText(pairs []observe.Pair, watched time.Duration) (text string, all bool) {
	var calls []distribution.FirstCall
	missing := 0
	for _, p := range pairs {
		if p.Called {
			calls = append(calls, p.FirstCall)
		} else {
			missing++
		}
	}
	slowest, some := distribution.Slowest(calls)
	switch {
	case !some:
		return "never in " + runner.Seconds(watched), false
	case missing > 0:
		return fmt.Sprintf("%d of %d never in %s, the others within %s", missing, len(pairs), runner.Seconds(watched), runner.Seconds(slowest.After.Round(10*time.Millisecond))), false
	}
	return "the slowest after " + runner.Seconds(slowest.After.Round(10*time.Millisecond)), true
}
