package strategy

import (
	"fmt"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

var roundRobinIsEven = runner.Claim{
	ID:        5,
	Text:      "round_robin is even",
	Criterion: of(Steady, maxMinusMin(1), even),
}

// settle is how long after an endpoint event a client may still be applying it.
const settle = 2 * time.Second

// even takes every stretch of windows that begins and ends at a barrier, with no
// endpoint event, no connection opened or closed and no failed call inside, and
// wants it exact.
func even(f *observe.Facts, steady *observe.Phase, limit maxMinusMin) runner.Verdict {
	if len(steady.Servers) < 2 {
		return runner.NotRun("only %d server was ready: nothing to spread over", len(steady.Servers))
	}
	worst, total, stretches := int64(0), int64(0), 0
	for _, name := range steady.Clients {
		found := false
		for _, stretch := range cut(f, f.Clients[name].Between(steady.Begin, steady.End)) {
			counts := observe.Calls(stretch).With(steady.Servers...)
			if counts.Total() < int64(2*len(steady.Servers)) {
				continue // too few to be uneven
			}
			found, stretches, total = true, stretches+1, total+counts.Total()
			worst = max(worst, counts.MaxMinusMin())
			if len(counts) > len(steady.Servers) {
				return runner.Decided(false, "%s was answered by %v, ready were %v", name, counts.Servers(), steady.Servers)
			}
		}
		if !found {
			return runner.NotRun("%s had no two barriers without an update, a failure or a new connection between", name)
		}
	}
	return runner.Decided(worst <= int64(limit), "max - min = %d over %d calls of %d clients in %d stretches", worst, total, len(steady.Clients), stretches).With("max - min = %d", worst)
}

// cut cuts a client's windows where the set of servers may have changed,
// and at calls that failed, of which nobody knows whose they were.
func cut(f *observe.Facts, windows []calllog.Window) [][]calllog.Window {
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

// maxMinusMin is the largest difference of two servers' calls between barriers.
type maxMinusMin int64

func (n maxMinusMin) Sentence(observe.DNS) string {
	return fmt.Sprintf("max - min <= %d between barriers", int64(n))
}
