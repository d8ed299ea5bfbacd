package loadgen_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
)

// exactRuns returns the windows that lie between barriers, in stretches without
// a gap, from the first barrier after which the connections stayed the same.
func exactRuns(windows []*calllog.Window, connections int64) [][]*calllog.Window {
	var runs [][]*calllog.Window
	bounded := false // a barrier with all connections came just before
	for _, w := range windows {
		steady := w.Connections == connections && w.Opened == 0 && w.Closed == 0
		if bounded && steady && w.Barrier {
			runs[len(runs)-1] = append(runs[len(runs)-1], w)
			continue
		}
		if bounded = w.Barrier && w.Connections == connections; bounded {
			runs = append(runs, nil)
		}
	}
	return runs
}

// checkEven verifies round_robin's promise over every contiguous range of exact
// windows: all that was issued completed, and no server got two calls more than
// another. It returns the number of windows.
func checkEven(t *testing.T, windows []*calllog.Window, servers []string) int {
	t.Helper()
	exact := 0
	for _, run := range exactRuns(windows, int64(len(servers))) {
		exact += len(run)
		for first := range run {
			sum := distribution.Counts{}.With(servers...)
			var issued int64
			for last := first; last < len(run); last++ {
				sum = sum.Plus(run[last].Servers)
				issued += run[last].Issued
				if got := sum.MaxMinusMin(); got > 1 || sum.Total() != issued {
					t.Errorf("windows %d to %d: %v of %d issued, want all, and max - min <= 1, got %d",
						run[first].Seq, run[last].Seq, sum, issued, got)
				}
			}
		}
	}
	return exact
}

// Over real connections, with gRPC's round_robin over three servers, windows
// between barriers are even to one call, and most windows are of that kind.
func TestRoundRobinIsEvenBetweenBarriers(t *testing.T) {
	cfg := cluster(t, false, named("a"), named("b"), named("c"))
	cfg.Rate, cfg.Duration = 80, 5*time.Second
	r, err := run(t.Context(), t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	checkSums(t, r)
	if got := checkEven(t, linesOf[*calllog.Window](r), []string{"a", "b", "c"}); got < 2 {
		t.Errorf("%d exact windows in 5 s, want at least 2", got)
	}
}

// In virtual time, with answers that take longer than the distance between two
// calls but not always, a minute of windows keeps the same promise: those that
// find no moment without calls in flight end late and say so.
func TestWindowsWaitForABarrierButNotForLong(t *testing.T) {
	tests := []struct {
		name      string
		delay     time.Duration
		rate      float64
		wantExact bool
	}{
		{"gaps_between_calls", 3 * time.Millisecond, 50, true},
		{"calls_that_span_the_end_of_windows", 19 * time.Millisecond, 50, true},
		{"always_in_flight", 50 * time.Millisecond, 50, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				servers := []*server{named("a"), named("b"), named("c")}
				for _, s := range servers {
					s.delay = tt.delay
				}
				cfg := cluster(t, true, servers...)
				cfg.Rate, cfg.Duration = tt.rate, time.Minute
				r, err := run(t.Context(), t, cfg)
				if err != nil {
					t.Fatal(err)
				}
				checkSums(t, r)
				windows := linesOf[*calllog.Window](r)
				exact := checkEven(t, windows, []string{"a", "b", "c"})
				if tt.wantExact && exact < 58 || !tt.wantExact && exact > 1 { // the last, empty one
					t.Errorf("%d exact windows in a minute, want nearly all: %v", exact, tt.wantExact)
				}
				for _, w := range windows[:len(windows)-1] {
					late := w.End.Sub(windows[0].Start) - time.Duration(w.Seq)*time.Second
					if late < 0 || late > 250*time.Millisecond || !w.Barrier && late < 250*time.Millisecond {
						t.Errorf("window %d ended %v after its second, barrier %v, want at a barrier or 250 ms late", w.Seq, late, w.Barrier)
					}
				}
			})
		})
	}
}

// A closed loop with one caller has a barrier between any two calls.
func TestOneCallerHasABarrierInEveryWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := named("a")
		s.delay = 7 * time.Millisecond
		cfg := cluster(t, true, s)
		cfg.Concurrency, cfg.Duration = 1, 10*time.Second
		r, err := run(t.Context(), t, cfg)
		if err != nil {
			t.Fatal(err)
		}
		checkSums(t, r)
		if got := checkEven(t, linesOf[*calllog.Window](r), []string{"a"}); got < 9 {
			t.Errorf("%d exact windows in 10 s, want all but the first", got)
		}
	})
}
