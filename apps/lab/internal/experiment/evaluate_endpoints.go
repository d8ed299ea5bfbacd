package experiment

import (
	"fmt"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
)

// settle is how long after an endpoint event a client may still be applying it.
const settle = 2 * time.Second

// recordsFollow needs one look-up that equals the ready pods in time. One that
// came later decides against: the records cannot have followed before it.
func recordsFollow(f *Facts) Verdict {
	out, why := f.phase(ScaleOut)
	if out == nil {
		return notRun("%s", why)
	}
	limit := f.DNS.Trail()
	for _, l := range f.Lookups {
		after := l.At.Sub(l.Since)
		if l.At.Before(out.Change) || len(l.Ready) != len(out.Servers)+len(out.Added) {
			continue
		}
		if slices.Equal(l.Addresses, l.Ready) {
			return decided(after <= limit, "%d records for %d ready pods %s after the last became ready", len(l.Addresses), len(l.Ready), seconds(after.Round(10*time.Millisecond)))
		}
		if after >= limit {
			return decided(false, "%d records for %d ready pods %s after the last became ready", len(l.Addresses), len(l.Ready), seconds(after.Round(10*time.Millisecond)))
		}
	}
	return notRun("%d look-ups, none of them after every new pod was ready and none at the limit", len(f.Lookups))
}

// even takes every stretch of windows that begins and ends at a barrier, with no
// endpoint event, no connection opened or closed and no failed call inside, and
// wants it exact.
func even(f *Facts) Verdict {
	steady, why := f.phase(Steady)
	if steady == nil {
		return notRun("%s", why)
	}
	if len(steady.Servers) < 2 {
		return notRun("only %d server was ready: nothing to spread over", len(steady.Servers))
	}
	worst, total, stretches := int64(0), int64(0), 0
	for _, name := range steady.Clients {
		found := false
		for _, stretch := range f.stretches(f.Clients[name].between(steady.Begin, steady.End)) {
			counts := calls(stretch).With(steady.Servers...)
			if counts.Total() < int64(2*len(steady.Servers)) {
				continue // too few to be uneven
			}
			found, stretches, total = true, stretches+1, total+counts.Total()
			worst = max(worst, counts.MaxMinusMin())
			if len(counts) > len(steady.Servers) {
				return decided(false, "%s was answered by %v, ready were %v", name, counts.Servers(), steady.Servers)
			}
		}
		if !found {
			return notRun("%s had no two barriers without an update, a failure or a new connection between", name)
		}
	}
	return decided(worst <= 1, "max - min = %d over %d calls of %d clients in %d stretches", worst, total, len(steady.Clients), stretches)
}

// stretches cuts a client's windows where the set of servers may have changed,
// and at calls that failed, of which nobody knows whose they were.
func (f *Facts) stretches(windows []calllog.Window) [][]calllog.Window {
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
		undisturbed := failures([]calllog.Window{w}) == 0 && w.Opened == 0 && w.Closed == 0 && !f.endpointsMoved(w.Start, w.End)
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

func (f *Facts) endpointsMoved(from, to time.Time) bool {
	return slices.ContainsFunc(f.Endpoints, func(e EndpointEvent) bool {
		return e.At.Add(settle).After(from) && e.At.Before(to)
	})
}

// missed wants that no client called a pod that a scale-out added.
func missed(f *Facts) Verdict {
	out, why := f.phase(ScaleOut)
	if out == nil {
		return notRun("%s", why)
	}
	pairs := f.firstCalls(out)
	if len(pairs) == 0 {
		return notRun("%d servers were added beside %d clients", len(out.Added), len(out.Clients))
	}
	called := 0
	for _, p := range pairs {
		if p.Called {
			called++
		}
	}
	return decided(called == 0, "%d clients called %d of %d new pods in %s after the last was ready", len(out.Clients), called, len(out.Added), seconds(f.watched(out)))
}

// relearned wants every client that was connected before the scale-out to call
// every pod that it had missed.
func relearned(f *Facts) Verdict {
	left, why := f.phase(ServerLeaves)
	if left == nil {
		return notRun("%s", why)
	}
	out, why := f.phase(ScaleOut)
	if out == nil {
		return notRun("%s", why)
	}
	if len(out.Added) == 0 || len(left.Clients) == 0 {
		return notRun("%d servers were added beside %d clients", len(out.Added), len(left.Clients))
	}
	if !slices.Contains(out.Servers, left.Left) {
		return notRun("no original server left, but %q", left.Left)
	}
	limit, slowest := relearnLimit(f.DNS), time.Duration(0)
	for _, client := range left.Clients {
		for _, server := range out.Added {
			at, called := f.Clients[client].First[server]
			switch {
			case !called:
				return decided(false, "%s did not call %s in %s", client, server, seconds(left.End.Sub(left.Change).Round(time.Second)))
			case at.Before(left.Change):
				return notRun("%s had called %s before the server left", client, server)
			}
			slowest = max(slowest, at.Sub(left.Change))
		}
	}
	return decided(slowest <= limit, "%d clients called all %d new pods %s after the server was deleted", len(left.Clients), len(out.Added), seconds(slowest.Round(10*time.Millisecond)))
}

// calledWithin wants every client to call every added pod soon after the watch
// said that it is ready.
func calledWithin(limit func(DNS) time.Duration) func(*Facts) Verdict {
	return func(f *Facts) Verdict {
		out, why := f.phase(ScaleOut)
		if out == nil {
			return notRun("%s", why)
		}
		pairs := f.firstCalls(out)
		if len(pairs) == 0 {
			return notRun("%d servers were added beside %d clients", len(out.Added), len(out.Clients))
		}
		var slowest time.Duration
		for _, p := range pairs {
			if !p.Called {
				return decided(false, "%s did not call %s in %s", p.client, p.Server, seconds(f.watched(out)))
			}
			slowest = max(slowest, p.After)
		}
		return decided(slowest <= limit(f.DNS), "%d clients called all %d new pods, the slowest %s after Ready", len(out.Clients), len(out.Added), seconds(slowest.Round(10*time.Millisecond)))
	}
}

// watched is how long the lab went on looking after the last added server was
// ready.
func (f *Facts) watched(p *Phase) time.Duration {
	from := p.Change
	for _, server := range p.Added {
		if at := f.Ready[server]; at.After(from) {
			from = at
		}
	}
	return p.End.Sub(from).Round(time.Second)
}

// pairsText counts the pairs that were called and names the slowest.
func pairsText(pairs []pair, watched time.Duration) (text string, all bool) {
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
		return "never in " + seconds(watched), false
	case missing > 0:
		return fmt.Sprintf("%d of %d never in %s, the others within %s", missing, len(pairs), seconds(watched), seconds(slowest.After.Round(10*time.Millisecond))), false
	}
	return "the slowest after " + seconds(slowest.After.Round(10*time.Millisecond)), true
}
