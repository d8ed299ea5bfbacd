package strategy_test

import (
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// waiting is a scene in which a client's calls waited while no server was there.
func waiting(name string, slowestMillis float64, failures map[string]int64) *observe.Facts {
	f := newFacts(name, "grpc-lb-"+name)
	f.Phases[strategy.ScaleZero] = &observe.Phase{Evidence: &strategy.Waiter{Ran: runner.ClientResult{
		Summary: calllog.Summary{Calls: 200, Failures: failures, Latency: calllog.Latency{P999: slowestMillis}},
		Failure: "Unavailable: no healthy upstream",
	}}}
	return f
}

// The claims about a scale-in are decided by what the calls came to.
func TestScaleInClaims(t *testing.T) {
	in := func(failures map[string]int64) *observe.Facts {
		f := watching()
		p := *f.Phases[strategy.Steady]
		f.Phases[strategy.ScaleIn] = &p
		f.Clients["c1"].Windows[5].Failures = failures
		return f
	}
	for _, test := range []struct {
		name  string
		claim int
		facts *observe.Facts
		want  report.Status
	}{
		{"43_no_call_fails", 43, in(nil), report.Proven},
		{"43_some_are_late", 43, in(map[string]int64{"DeadlineExceeded": 3}), report.Proven},
		{"43_many_are_late", 43, in(map[string]int64{"DeadlineExceeded": 300}), report.Refuted},
		{"43_one_is_lost", 43, in(map[string]int64{"Unavailable": 1}), report.Refuted},
		{"44_waited", 44, waiting("l4", 14_000, nil), report.Proven},
		{"44_nothing_waited", 44, waiting("l4", 20, nil), report.NotRun},
		{"44_one_failed", 44, waiting("l4", 14_000, map[string]int64{"Unavailable": 1}), report.Refuted},
		{"45_the_proxy_answers", 45, waiting("envoy", 20, map[string]int64{"Unavailable": 60}), report.Proven},
		{"45_the_calls_wait", 45, waiting("envoy", 14_000, nil), report.Refuted},
		{"45_other_failures", 45, waiting("envoy", 20, map[string]int64{"DeadlineExceeded": 60}), report.Refuted},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := claim(t, test.claim).Judge(test.facts, observe.Reason{}); got.Status != test.want {
				t.Errorf("%s: %s %s, expected %s", got.Status, got.Measured, got.Reason, test.want)
			}
		})
	}
}
