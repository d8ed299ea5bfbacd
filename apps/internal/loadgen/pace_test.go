package loadgen_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
)

// change is a new rate at a moment.
type change struct {
	at   time.Duration
	rate float64
}

// issuedAt runs the open loop in virtual time with rates that change on the way,
// and returns when calls were issued, in milliseconds, and when it ended.
func issuedAt(t *testing.T, cfg loadgen.Config, changes ...change) (issued []int64, took time.Duration) {
	t.Helper()
	start := time.Now()
	setRate, run := loadgen.PacedLoop(cfg)
	for _, c := range changes {
		time.AfterFunc(c.at, func() { setRate(c.rate) })
	}
	run(t.Context(), start, func(context.Context) { issued = append(issued, time.Since(start).Milliseconds()) })
	return issued, time.Since(start)
}

// A new rate takes effect at once and puts the calls half a step from the grid
// of the windows; what would have been due in a pause is not made up for; and
// the end is by the number of calls or by the time as ever.
func TestPaceChanges(t *testing.T) {
	tests := []struct {
		name     string
		cfg      loadgen.Config
		changes  []change
		want     []int64 // ms
		wantTook time.Duration
	}{
		{
			name: "constant", cfg: loadgen.Config{Rate: 100, Count: 3},
			want: []int64{5, 15, 25}, wantTook: 25 * time.Millisecond,
		},
		{
			name: "faster_from_amid_a_step", cfg: loadgen.Config{Rate: 10, Count: 5},
			changes: []change{{at: 150 * time.Millisecond, rate: 100}},
			want:    []int64{10, 110, 155, 165, 175}, wantTook: 175 * time.Millisecond,
		},
		{
			name: "slower", cfg: loadgen.Config{Rate: 100, Count: 5},
			changes: []change{{at: 31 * time.Millisecond, rate: 10}},
			want:    []int64{5, 15, 25, 110, 210}, wantTook: 210 * time.Millisecond,
		},
		{
			name: "pause_without_a_burst", cfg: loadgen.Config{Rate: 100, Count: 4},
			changes: []change{{at: 20 * time.Millisecond, rate: 0}, {at: 3 * time.Second, rate: 100}},
			want:    []int64{5, 15, 3005, 3015}, wantTook: 3015 * time.Millisecond,
		},
		{
			name: "while_a_slow_call_is_awaited", cfg: loadgen.Config{Rate: .001, Count: 3},
			changes: []change{{at: time.Second, rate: 100}},
			want:    []int64{10, 1005, 1015}, wantTook: 1015 * time.Millisecond,
		},
		{
			name: "same_rate_again_calls_none_twice", cfg: loadgen.Config{Rate: 100, Count: 3},
			changes: []change{{at: 16 * time.Millisecond, rate: 100}, {at: 21 * time.Millisecond, rate: 100}},
			want:    []int64{5, 15, 25}, wantTook: 25 * time.Millisecond,
		},
		{
			name: "time_ends_in_a_pause", cfg: loadgen.Config{Rate: 100, Duration: time.Second},
			changes: []change{{at: 20 * time.Millisecond, rate: 0}},
			want:    []int64{5, 15}, wantTook: time.Second,
		},
		{
			name: "time_ends_after_a_pause", cfg: loadgen.Config{Rate: 100, Duration: time.Second},
			changes: []change{{at: 20 * time.Millisecond, rate: 0}, {at: 980 * time.Millisecond, rate: 100}},
			want:    []int64{5, 15, 985, 995}, wantTook: 995 * time.Millisecond,
		},
		{
			name: "hardly_ever", cfg: loadgen.Config{Rate: math.SmallestNonzeroFloat64, Count: 2},
			changes: []change{{at: time.Hour, rate: 100}},
			want:    []int64{10, 3600_005}, wantTook: time.Hour + 5*time.Millisecond,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issued, took := issuedAt(t, tt.cfg, tt.changes...)
				if diff := cmp.Diff(tt.want, issued); diff != "" {
					t.Errorf("calls issued at ms (-want +got):\n%s", diff)
				}
				if took != tt.wantTook {
					t.Errorf("ended after %v, want %v", took, tt.wantTook)
				}
			})
		})
	}
}

// A loop in a pause is stopped like any other.
func TestPausedLoopStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setRate, run := loadgen.PacedLoop(loadgen.Config{Rate: 100})
		if before := setRate(0); before != 100 {
			t.Errorf("rate before %v, want 100", before)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		run(ctx, time.Now(), func(context.Context) { t.Error("a call in a pause") })
		if ctx.Err() == nil {
			t.Error("ended before it was stopped")
		}
		if before := setRate(7); before != 0 {
			t.Errorf("rate before %v, want 0", before)
		}
	})
}
