package loadgen_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
)

// Calls leave on time however long the answers take: 100 a second with answers
// of 3 s, all of them in flight at once.
func TestOpenLoopKeepsThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		var issued []time.Duration
		got := loadgen.OpenLoop(t.Context(), loadgen.Config{Rate: 100, Duration: 2 * time.Second, MaxInFlight: 1000}, start,
			func(context.Context) error {
				mu.Lock()
				issued = append(issued, time.Since(start))
				mu.Unlock()
				time.Sleep(3 * time.Second)
				return nil
			})
		if got.Calls != 200 || len(issued) != 200 {
			t.Fatalf("%d calls counted, %d made, want 200", got.Calls, len(issued))
		}
		for i, at := range issued {
			if want := 5*time.Millisecond + time.Duration(i)*10*time.Millisecond; at != want {
				t.Errorf("call %d issued after %v, want %v", i, at, want)
			}
		}
		if took := got.Latency.P50; took < 2997 || took > 3003 {
			t.Errorf("p50 %v ms, want 3000", took)
		}
	})
}

// At rates whose steps are far below what a timer can do in real time, each millisecond
// has its calls, and all of them are counted.
func TestOpenLoopAtHighRates(t *testing.T) {
	for _, perMillisecond := range []int{1, 10, 100} {
		synctest.Test(t, func(t *testing.T) {
			const took = 300
			start := time.Now()
			var mu sync.Mutex
			issued := make([]int, took)
			got := loadgen.OpenLoop(t.Context(), loadgen.Config{Rate: 1000 * float64(perMillisecond), Duration: took * time.Millisecond, MaxInFlight: 1000}, start,
				func(context.Context) error {
					mu.Lock()
					defer mu.Unlock()
					issued[time.Since(start).Milliseconds()]++
					return nil
				})
			if want := int64(took * perMillisecond); got.Issued != want || got.Calls != want || got.Latency.P999 > 0.002 {
				t.Errorf("%d issued, %d completed, latency %+v, want %d on time", got.Issued, got.Calls, got.Latency, want)
			}
			for ms, n := range issued {
				if n != perMillisecond {
					t.Errorf("%d calls in millisecond %d, want %d", n, ms, perMillisecond)
				}
			}
		})
	}
}

// A client that was held up for a second issues at once what was due meanwhile,
// and that second is in the latency: nothing is skipped, nothing made nice.
func TestOpenLoopCatchesUpAndCountsTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().Add(-time.Second)
		got := loadgen.OpenLoop(t.Context(), loadgen.Config{Rate: 100, Duration: 2 * time.Second, MaxInFlight: 1000}, start,
			func(context.Context) error { return nil })
		if got.Calls != 200 || got.Issued != 200 {
			t.Errorf("%d issued, %d completed, want 200", got.Issued, got.Calls)
		}
		// Half of the calls were up to 1 s late, the other half on time.
		if got.Latency.P90 < 780 || got.Latency.P90 > 820 || got.Latency.P999 < 970 {
			t.Errorf("latencies %+v, want p90 about 800 ms, p99.9 about 1000 ms", got.Latency)
		}
	})
}

// Calls beyond the limit in flight are not sent, but they are issued and failed
// under a name of their own.
func TestOpenLoopCountsWhatTheBacklogRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := loadgen.OpenLoop(t.Context(), loadgen.Config{Rate: 100, Count: 100, MaxInFlight: 30}, time.Now(),
			func(context.Context) error {
				time.Sleep(time.Minute)
				return nil
			})
		if got.Issued != 100 || got.Calls != 100 {
			t.Errorf("%d issued, %d completed, want 100", got.Issued, got.Calls)
		}
		if diff := cmp.Diff(map[string]int64{calllog.CodeBacklogFull: 70}, got.Failures); diff != "" {
			t.Errorf("failures (-want +got):\n%s", diff)
		}
	})
}
