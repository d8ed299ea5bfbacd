package callpath_test

import (
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/internal/callpath"
)

// fine is a result that keeps all goals, each by a little.
func fine() callpath.Result {
	return callpath.Result{
		Rounds: 3, TimeS: 2, InFlight: 64, RequestBytes: 18, ResponseBytes: 73, Machine: "2 CPUs", Go: "go1", GRPC: "v1", Ghz: "v0",
		Benchmark:  callpath.Program{CallsPerSecond: []float64{10_000, 20_000, 40_000}, P50: []float64{100, 200, 100}, ClientCPU: []float64{20}, ServerCPU: []float64{21}},
		GhzEcho:    callpath.Program{CallsPerSecond: []float64{7_999, 15_000, 31_000}, P50: []float64{150}},
		Echo:       callpath.Program{CallsPerSecond: []float64{8_000, 16_000, 32_000}, P50: []float64{110, 220, 110}},
		Accounting: callpath.Accounting{On: []float64{30.5, 20.3, 40.7}, Off: []float64{30, 20, 40}},
		OpenLoop:   []callpath.OpenLoop{{Asked: 100, Made: []float64{99.1, 100, 100.9}, P99: []float64{1000}}},
	}
}

// Each goal is judged by its figure: within the limit it is kept, beyond it missed, and so
// it is without a figure. One bad round of three spoils no median.
func TestGoals(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*callpath.Result)
		missed []int // by number of the goal, from 0
	}{
		{"within_the_limits", func(*callpath.Result) {}, nil},
		{"bad_round", func(r *callpath.Result) {
			r.Echo.CallsPerSecond[0], r.Echo.P50[1], r.Accounting.On[2], r.OpenLoop[0].Made[0] = 1, 1000, 1000, 50
		}, nil},
		{"slower_than_benchmark", func(r *callpath.Result) { r.Echo.CallsPerSecond[1], r.Echo.CallsPerSecond[2] = 15_999, 31_999 }, []int{0}},
		{"slower_than_ghz", func(r *callpath.Result) { r.GhzEcho.CallsPerSecond = []float64{8_000, 16_000, 32_000} }, []int{1}},
		{"late", func(r *callpath.Result) { r.Echo.P50[0], r.Echo.P50[2] = 111, 111 }, []int{2}},
		{"dear_accounting", func(r *callpath.Result) { r.Accounting.On[0], r.Accounting.On[1] = 30.61, 20.5 }, []int{3}},
		{"open_loop_slow", func(r *callpath.Result) { r.OpenLoop[0].Made = []float64{98.9, 98.8, 100} }, []int{4}},
		{"open_loop_fast", func(r *callpath.Result) { r.OpenLoop[0].Made = []float64{101.1, 101.2, 100} }, []int{4}},
		{"nothing_measured", func(r *callpath.Result) {
			*r = callpath.Result{OpenLoop: []callpath.OpenLoop{{Asked: 100}}}
		}, []int{0, 1, 2, 3, 4}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := fine()
			tc.change(&r)
			goals := r.Goals()
			if len(goals) != 5 {
				t.Fatalf("%d goals, want 5", len(goals))
			}
			missed := map[int]bool{}
			for _, i := range tc.missed {
				missed[i] = true
			}
			for i, g := range goals {
				if g.Kept == missed[i] {
					t.Errorf("goal %d, %s, measured %s: kept %t, want %t", i, g.Text, g.Measured, g.Kept, !missed[i])
				}
			}
		})
	}
}

// Both forms of the table have each figure, and say which goals are missed.
func TestTable(t *testing.T) {
	r := fine()
	r.Echo.P50 = []float64{500}
	var text strings.Builder
	if err := callpath.Write(&text, r); err != nil {
		t.Fatal(err)
	}
	for form, table := range map[string]string{"text": text.String(), "markdown": callpath.Markdown(r)} {
		for _, want := range []string{"16,000", "500 µs", "20 µs", "21 µs", "5.00", "missed", "kept", "100.0", "99.1", "1,000 µs", "1.03 of ghz", "18 bytes", "ghz v0"} {
			if !strings.Contains(table, want) {
				t.Errorf("the table as %s lacks %q:\n%s", form, want, table)
			}
		}
	}
}

func TestMedian(t *testing.T) {
	if got := callpath.Median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("median of 3, 1, 2 is %v, want 2", got)
	}
	if got := callpath.Median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of 4, 1, 2, 3 is %v, want 2.5", got)
	}
}
