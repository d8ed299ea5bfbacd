package strategy_test

import (
	"testing"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// routed is what is seen of calls that GRPCRoutes send to an old and to a new version.
func routed() *observe.Facts {
	f := newFacts("gateway", "grpc-lb-gateway")
	f.Phases[strategy.Routes] = &observe.Phase{Evidence: &strategy.Routed{
		Split: strategy.Share{Old: 1790, New: 210},
		With:  strategy.Share{New: 200}, Without: strategy.Share{Old: 200},
		Missing: "False (BackendNotFound)", Nowhere: strategy.Share{Failed: 200}, Failures: map[string]int64{"Unavailable": 200},
		Older: strategy.Share{Old: 200}, Younger: strategy.Share{New: 200},
	}}
	return f
}

// taken is what is seen of a Gateway's proxy whose one pod is replaced by a restart, and the
// next one killed.
func taken() *observe.Facts {
	f := following("gateway")
	end := func(opened, ended float64, code string) *calllog.StreamEnd {
		return &calllog.StreamEnd{Header: calllog.Header{Time: at(ended)}, Server: "s1", Opened: at(opened), Calls: 9, Code: code}
	}
	f.Phases[strategy.GatewayAway] = &observe.Phase{Begin: at(13), Change: at(13), End: at(46), Clients: clients, Servers: originals, Evidence: &strategy.Taken{
		Restart: observe.Phase{Begin: at(13), Change: at(13), End: at(20), Clients: clients, Servers: originals},
		Old:     []string{"p1"}, New: []string{"p2"},
		Killed: at(25), Stream: &runner.ClientResult{Log: []calllog.Line{end(21, 25.2, "Unavailable"), end(30, 45, "OK")}},
		Conditions: map[string]map[string]string{
			"first":  {"Conflicted": "False (NoConflicts)", "Programmed": "True (Programmed)"},
			"second": {"Conflicted": "True (ProtocolConflict)", "Programmed": "False (Invalid)"},
		},
	}}
	return f
}

// Every claim about routes and the Gateway's proxy is proven by what they do, and refuted
// by each way of not doing it.
func TestGatewayClaims(t *testing.T) {
	routes := func(change func(*strategy.Routed)) func() *observe.Facts {
		return func() *observe.Facts {
			f := routed()
			if change != nil {
				change(observe.EvidenceOf[*strategy.Routed](f, strategy.Routes))
			}
			return f
		}
	}
	away := func(change func(*strategy.Taken)) func() *observe.Facts {
		return func() *observe.Facts {
			f := taken()
			if change != nil {
				change(observe.EvidenceOf[*strategy.Taken](f, strategy.GatewayAway))
			}
			return f
		}
	}
	ends := func(s *strategy.Taken) []calllog.Line { return s.Stream.Log }
	for _, test := range []struct {
		name  string
		claim int
		scene func() *observe.Facts
		want  report.Status
	}{
		{"72_split", 72, routes(nil), report.Proven},
		{"72_even", 72, routes(func(r *strategy.Routed) { r.Split = strategy.Share{Old: 1000, New: 1000} }), report.Refuted},
		{"72_80_to_20", 72, routes(func(r *strategy.Routed) { r.Split = strategy.Share{Old: 1600, New: 400} }), report.Refuted},
		{"72_95_to_5", 72, routes(func(r *strategy.Routed) { r.Split = strategy.Share{Old: 1900, New: 100} }), report.Refuted},
		{"72_a_call_fails", 72, routes(func(r *strategy.Routed) { r.Split = strategy.Share{Old: 1799, New: 200, Failed: 1} }), report.Refuted},
		{"72_too_few", 72, routes(func(r *strategy.Routed) { r.Split = strategy.Share{Old: 90, New: 10} }), report.NotRun},
		{"78_in_the_mesh", 78, routes(nil), report.Proven},
		{"78_ignored", 78, routes(func(r *strategy.Routed) { r.Split = strategy.Share{Old: 2000} }), report.Refuted},
		{"73_chosen", 73, routes(nil), report.Proven},
		{"73_one_goes_astray", 73, routes(func(r *strategy.Routed) { r.With = strategy.Share{Old: 1, New: 199} }), report.Refuted},
		{"73_all_go_there", 73, routes(func(r *strategy.Routed) { r.Without = strategy.Share{New: 200} }), report.Refuted},
		{"73_no_calls", 73, routes(func(r *strategy.Routed) { r.Without = strategy.Share{} }), report.NotRun},
		{"74_says_so", 74, routes(nil), report.Proven},
		{"74_says_nothing", 74, routes(func(r *strategy.Routed) { r.Missing = "True (ResolvedRefs)" }), report.Refuted},
		{"74_hangs", 74, routes(func(r *strategy.Routed) { r.Failures = map[string]int64{"DeadlineExceeded": 200} }), report.Refuted},
		{"74_several_codes", 74, routes(func(r *strategy.Routed) { r.Failures = map[string]int64{"Unavailable": 199, "Internal": 1} }), report.Refuted},
		{"74_one_is_answered", 74, routes(func(r *strategy.Routed) { r.Nowhere = strategy.Share{Old: 1, Failed: 199} }), report.Refuted},
		{"75_older", 75, routes(nil), report.Proven},
		{"75_both", 75, routes(func(r *strategy.Routed) { r.Older = strategy.Share{Old: 100, New: 100} }), report.Refuted},
		{"75_younger", 75, routes(func(r *strategy.Routed) { r.Older = strategy.Share{New: 200} }), report.Refuted},
		{"75_younger_never_works", 75, routes(func(r *strategy.Routed) { r.Younger = strategy.Share{Failed: 200} }), report.Refuted},
		{"76_lossless", 76, away(nil), report.Proven},
		{"76_the_pod_stayed", 76, away(func(s *strategy.Taken) { s.New = []string{"p1"} }), report.Refuted},
		{"76_lost", 76, func() *observe.Facts {
			f := taken()
			f.Clients["c1"].Windows[15].Failures = map[string]int64{"Unavailable": 1}
			return f
		}, report.Refuted},
		{"76_not_restarted", 76, away(func(s *strategy.Taken) { s.Restart = observe.Phase{} }), report.NotRun},
		{"77_reopens", 77, away(nil), report.Proven},
		{"77_another_code", 77, away(func(s *strategy.Taken) { ends(s)[0].(*calllog.StreamEnd).Code = "Internal" }), report.Refuted},
		{"77_too_late", 77, away(func(s *strategy.Taken) { ends(s)[1].(*calllog.StreamEnd).Opened = s.Killed.Add(21 * time.Second) }), report.Refuted},
		{"77_never_again", 77, away(func(s *strategy.Taken) { s.Stream.Log = ends(s)[:1] }), report.Refuted},
		{"77_ended_before", 77, away(func(s *strategy.Taken) { ends(s)[0].(*calllog.StreamEnd).Time = s.Killed.Add(-time.Second) }), report.NotRun},
		{"79_first_wins", 79, away(nil), report.Proven},
		{"79_both_programmed", 79, away(func(s *strategy.Taken) { s.Conditions["second"] = s.Conditions["first"] }), report.Refuted},
		{"79_none_programmed", 79, away(func(s *strategy.Taken) { s.Conditions["first"] = s.Conditions["second"] }), report.Refuted},
		{"79_not_judged", 79, away(func(s *strategy.Taken) { s.Conditions = nil }), report.NotRun},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := claim(t, test.claim).Judge(test.scene(), observe.Reason{}); got.Status != test.want {
				t.Errorf("claim %d is %s (%s%s), expected %s", test.claim, got.Status, got.Measured, got.Reason, test.want)
			}
		})
	}
}
