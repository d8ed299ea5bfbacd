package costs_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// histogram is one of calls that took so many milliseconds.
func histogram(t *testing.T, millis ...int) string {
	t.Helper()
	all := latency.New()
	for _, ms := range millis {
		all.Record(time.Duration(ms) * time.Millisecond)
	}
	text, err := all.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// answered lets the turns of a strategy have a call each, which took so long.
func answered(t *testing.T, millis ...int) func(*report.Strategy) {
	t.Helper()
	return func(s *report.Strategy) {
		for i, ms := range millis {
			s.Cost.Turns[i].LatencyHDR = histogram(t, ms)
		}
	}
}

// A row holds the medians and the ends of what the runs measured, compares a run
// with the baseline of the same run alone, and says of what was not measured that
// it was not.
func TestOf(t *testing.T) {
	base := func(p50 float64) report.Strategy { return measured(costs.Baseline, p50) }
	newPods := func(called int) func(*report.Strategy) {
		return func(s *report.Strategy) {
			s.Cost.NewPods = &report.NewPods{Called: called, Pairs: 9, SlowestSeconds: float64(called) / 10, WatchedSeconds: 13}
		}
	}
	failed := func(name string, failed, late int64) func(*report.Strategy) {
		return func(s *report.Strategy) {
			s.Cost.Failed[name] = report.Failed{Failed: failed, Late: late, Calls: 1000}
		}
	}
	encrypted := func(s *report.Strategy) { s.Cost.Encrypted = true }
	for _, test := range []struct {
		name string
		runs []report.Result
		want costs.Row
	}{
		{name: "one_run", runs: []report.Result{run(base(2), measured("envoy", 3.5))}, want: row("envoy", 3.5)},
		{name: "baseline", runs: []report.Result{run(base(2), measured("envoy", 3.5))}, want: row(costs.Baseline, 2)},
		{
			// The second run was on a busy machine: the added latency is the median of
			// 1.5, 1 and 3, and not 5 - 4.
			name: "added_in_the_same_run",
			runs: []report.Result{run(base(2), measured("envoy", 3.5)), run(base(4), measured("envoy", 5)), run(base(10), measured("envoy", 13))},
			want: row("envoy", 3.5, func(r *costs.Row) {
				r.Runs, r.Called, r.Pairs = 3, 27, 27
				r.P50, r.P99 = &costs.Spread{Min: 3.5, Median: 5, Max: 13}, &costs.Spread{Min: 35, Median: 50, Max: 130}
				r.AddedP50, r.AddedP99 = &costs.Spread{Min: 1, Median: 1.5, Max: 3}, &costs.Spread{Min: 10, Median: 15, Max: 30}
				r.Failed["server-leaves"] = report.Failed{Calls: 3000}
			}),
		},
		{
			name: "median_of_an_even_number",
			runs: []report.Result{run(base(2), measured("envoy", 3)), run(base(2), measured("envoy", 6))},
			want: row("envoy", 3, func(r *costs.Row) {
				r.Runs, r.Called, r.Pairs = 2, 18, 18
				r.P50, r.P99 = &costs.Spread{Min: 3, Median: 4.5, Max: 6}, &costs.Spread{Min: 30, Median: 45, Max: 60}
				r.AddedP50, r.AddedP99 = &costs.Spread{Min: 1, Median: 2.5, Max: 4}, &costs.Spread{Min: 10, Median: 25, Max: 40}
				r.Failed["server-leaves"] = report.Failed{Calls: 2000}
			}),
		},
		{
			name: "failed_in_one_run",
			runs: []report.Result{run(base(2), measured("envoy", 3.5)), run(base(2), unable("envoy", "1 of 3 are ready"))},
			want: row("envoy", 3.5, func(r *costs.Row) { r.Missed = "1 of 3 are ready" }),
		},
		{
			name: "failed_in_the_first_run",
			runs: []report.Result{run(base(2), unable("envoy", "1 of 3 are ready")), run(base(2), measured("envoy", 3.5))},
			want: row("envoy", 3.5, func(r *costs.Row) { r.Missed = "1 of 3 are ready" }),
		},
		{
			name: "not_called_in_one_run",
			runs: []report.Result{run(base(2), measured("envoy", 3.5)), run(base(2), measured("envoy", 9, func(s *report.Strategy) { s.Cost.Turns = nil }))},
			want: row("envoy", 3.5, func(r *costs.Row) { r.Missed = "it was not called in turns" }),
		},
		{
			name: "not_in_the_second_run", runs: []report.Result{run(base(2), measured("envoy", 3.5)), run(base(2))}, want: row("envoy", 3.5),
		},
		{
			name: "not_run_at_all", runs: []report.Result{run(base(2), unable("envoy", "no image")), run(base(2), unable("envoy", "no image"))},
			want: costs.Row{Strategy: "envoy", Balancer: "who balances envoy", NotRun: "no image", Failed: map[string]report.Failed{}},
		},
		{
			name: "never_called_in_turns", runs: []report.Result{run(base(2), measured("envoy", 3.5, func(s *report.Strategy) { s.Cost = nil }))},
			want: costs.Row{Strategy: "envoy", Balancer: "who balances envoy", NotRun: "it was not called in turns", Failed: map[string]report.Failed{}},
		},
		{
			name: "baseline_failed_in_one_run",
			runs: []report.Result{run(base(2), measured("envoy", 3.5)), run(unable(costs.Baseline, "no room"), measured("envoy", 3.5))},
			want: row("envoy", 3.5, func(r *costs.Row) {
				r.Runs, r.Called, r.Pairs, r.Failed["server-leaves"] = 2, 18, 18, report.Failed{Calls: 2000}
			}),
		},
		{
			name: "no_baseline", runs: []report.Result{run(measured("envoy", 3.5))},
			want: row("envoy", 3.5, func(r *costs.Row) { r.AddedP50, r.AddedP99 = nil, nil }),
		},
		{
			name: "new_pods_called_partly",
			runs: []report.Result{run(base(2), measured("envoy", 3.5)), run(base(2), measured("envoy", 3.5, newPods(4)))},
			want: row("envoy", 3.5, func(r *costs.Row) {
				r.Runs, r.Called, r.Pairs, r.Failed["server-leaves"] = 2, 13, 18, report.Failed{Calls: 2000}
			}),
		},
		{
			name: "new_pods_never_called", runs: []report.Result{run(base(2), measured("envoy", 3.5, newPods(0)))},
			want: row("envoy", 3.5, func(r *costs.Row) { r.Called, r.NewPods = 0, nil }),
		},
		{
			name: "scale_out_not_measured", runs: []report.Result{run(base(2), measured("envoy", 3.5, func(s *report.Strategy) { s.Cost.NewPods = nil }))},
			want: row("envoy", 3.5, func(r *costs.Row) { r.Called, r.Pairs, r.Watched, r.NewPods = 0, 0, 0, nil }),
		},
		{
			name: "failed_calls_are_summed",
			runs: []report.Result{
				run(base(2), measured("envoy", 3.5, failed("server-leaves", 3, 1), failed("kill", 5, 0))),
				run(base(2), measured("envoy", 3.5, failed("server-leaves", 4, 2))),
			},
			want: row("envoy", 3.5, func(r *costs.Row) {
				r.Runs, r.Called, r.Pairs = 2, 18, 18
				r.Failed = map[string]report.Failed{"server-leaves": {Failed: 7, Late: 3, Calls: 2000}, "kill": {Failed: 5, Calls: 1000}}
			}),
		},
		{
			name: "calls_of_all_turns_and_runs",
			runs: []report.Result{run(base(2), measured("envoy", 3.5, answered(t, 1, 2))), run(base(2), measured("envoy", 3.5, answered(t, 30)))},
			want: row("envoy", 3.5, func(r *costs.Row) {
				r.Runs, r.Called, r.Pairs, r.Failed["server-leaves"] = 2, 18, 18, report.Failed{Calls: 2000}
				r.LatencyHDR = histogram(t, 1, 2, 30)
			}),
		},
		{
			name: "proxies_beside",
			runs: []report.Result{run(base(2), measured("istio", 3.5, encrypted, func(s *report.Strategy) {
				s.Cost.Proxies, s.Cost.Figures[report.Memory] = report.Proxies{AppPods: 6, Beside: 6}, 48
				s.Cost.Turns[0].CPU["proxy"], s.Cost.Turns[1].CPU["proxy"] = 300, 500
			}))},
			want: row("istio", 3.5, func(r *costs.Row) {
				r.Beside, r.Figures[report.Memory], r.CPU["proxy"], r.Encrypted = 1, *once(48), *once(400), true
			}),
		},
		{
			name: "proxies_apart",
			runs: []report.Result{run(base(2), measured("envoy", 3.5, func(s *report.Strategy) {
				s.Cost.Proxies, s.Cost.Figures[report.Memory] = report.Proxies{AppPods: 6, Pods: 2}, 10
			}))},
			want: row("envoy", 3.5, func(r *costs.Row) { r.Pods, r.Figures[report.Memory] = 2, *once(10) }),
		},
		{
			name: "encrypted_in_one_run",
			runs: []report.Result{run(base(2), measured("envoy", 3.5)), run(base(2), measured("envoy", 3.5, encrypted))},
			want: row("envoy", 3.5, func(r *costs.Row) {
				r.Runs, r.Called, r.Pairs, r.Failed["server-leaves"] = 2, 18, 18, report.Failed{Calls: 2000}
			}),
		},
		{
			name: "nodes_not_known", runs: []report.Result{run(base(2), measured("envoy", 3.5, func(s *report.Strategy) { delete(s.Cost.Figures, report.OtherNode) }))},
			want: row("envoy", 3.5, figure(report.OtherNode, nil)),
		},
		{
			name: "steady_state_not_measured", runs: []report.Result{run(base(2), measured("envoy", 3.5, func(s *report.Strategy) { s.Spread = nil }))},
			want: row("envoy", 3.5, func(r *costs.Row) { r.Shares = nil }),
		},
		{
			name: "no_call_was_answered",
			runs: []report.Result{run(base(2), measured("envoy", 3.5, func(s *report.Strategy) {
				s.Spread[0].Servers = map[string]int64{"s1": 0, "s2": 0}
			}))},
			want: row("envoy", 3.5, func(r *costs.Row) { r.Shares = []float64{0, 0} }),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, err := costs.Of(test.runs)
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range table.Rows {
				if got.Strategy != test.want.Strategy {
					continue
				}
				if diff := cmp.Diff(test.want, got, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
					t.Errorf("row (-want +got):\n%s", diff)
				}
				return
			}
			t.Errorf("the table has no row %s", test.want.Strategy)
		})
	}
}

// The table spans all runs, on the machine of the first, at the rate of those
// that were measured; its rows are the strategies of the first run in its order.
func TestOfSpansTheRuns(t *testing.T) {
	last := run(unable("envoy", "no image"), measured("l4", 2), measured("xds", 2))
	last.Started, last.Finished = at(10), at(20)
	got, err := costs.Of([]report.Result{run(measured("l4", 2), unable("envoy", "no image")), last})
	if err != nil {
		t.Fatal(err)
	}
	want := costs.Table{
		Schema:  costs.Schema,
		Started: at(0), Finished: at(20), Runs: 2, Cluster: "builtin", Machine: report.Machine{CPUs: 2, Kernel: "6.1"},
		Versions: map[string]string{"kubernetes": "v1"}, Rate: 300,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(costs.Table{}, "Rows")); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	var names []string
	for _, r := range got.Rows {
		names = append(names, r.Strategy)
	}
	if diff := cmp.Diff([]string{"l4", "envoy"}, names); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got, err := costs.Of(nil); err == nil || !strings.HasPrefix(err.Error(), "costs: ") {
		t.Errorf("of no run: %+v, error %v, want an error of the package", got, err)
	}
}

// What is written as JSON is read back as it was, and its fields are known.
func TestJSONRoundTrip(t *testing.T) {
	want := sample(t)
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.DisallowUnknownFields()
	var got costs.Table
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// The names by which the table finds what was measured are those of the lab.
func TestNames(t *testing.T) {
	if diff := cmp.Diff([]string{strategy.ServerLeaves, strategy.RollingRestart, strategy.Kill}, costs.Experiments); diff != "" {
		t.Errorf("experiments (-want +got):\n%s", diff)
	}
	for _, s := range strategy.All() {
		if s.Name == costs.Baseline {
			return
		}
	}
	t.Errorf("the baseline %s is no strategy", costs.Baseline)
}
