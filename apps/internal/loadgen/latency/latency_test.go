package latency_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
)

// Two windows sent as text and merged give the percentiles of all their calls,
// within the three digits that are kept.
func TestMergedWindowsKeepThePercentiles(t *testing.T) {
	merged := latency.New()
	for _, start := range []int{1, 501} {
		window := latency.New()
		for ms := start; ms < start+500; ms++ {
			window.Record(time.Duration(ms) * time.Millisecond)
		}
		text, err := window.Encode()
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := latency.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		merged.Merge(decoded)
	}
	if got := merged.Count(); got != 1000 {
		t.Errorf("Count() = %d, want 1000", got)
	}
	want := calllog.Latency{P50: 500, P90: 900, P99: 990, P999: 999}
	if diff := cmp.Diff(want, merged.Percentiles(), cmpopts.EquateApprox(.001, 0)); diff != "" {
		t.Errorf("Percentiles() (-want +got):\n%s", diff)
	}
}

// Any percentile can be asked for: the ends are the fastest and the slowest call.
func TestAt(t *testing.T) {
	h := latency.New()
	if got := h.At(50); got != 0 {
		t.Errorf("At(50) of nothing = %v, want 0", got)
	}
	for ms := 1; ms <= 1000; ms++ {
		h.Record(time.Duration(ms) * time.Millisecond)
	}
	for percentile, want := range map[float64]time.Duration{0: time.Millisecond, 25: 250 * time.Millisecond, 99.5: 995 * time.Millisecond, 100: time.Second} {
		if got := h.At(percentile); (got - want).Abs() > want/500 {
			t.Errorf("At(%v) = %v, want %v", percentile, got, want)
		}
	}
}

// Nothing is lost at the ends of the range, and nothing at all is zero.
func TestExtremes(t *testing.T) {
	h := latency.New()
	if diff := cmp.Diff(calllog.Latency{}, h.Percentiles()); diff != "" {
		t.Errorf("Percentiles() of nothing (-want +got):\n%s", diff)
	}
	for _, d := range []time.Duration{-time.Second, 0, time.Nanosecond, 48 * time.Hour} {
		h.Record(d)
	}
	if got := h.Count(); got != 4 {
		t.Errorf("Count() = %d, want 4", got)
	}
	if _, err := latency.Decode("not a histogram"); err == nil {
		t.Error("Decode accepted what is no histogram")
	}
}
