package runner_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// What another attempt could prove is measured again, and nothing else.
func TestDoubtful(t *testing.T) {
	for _, test := range []struct {
		name     string
		strategy report.Strategy
		claim    report.Claim
		notRun   string
		want     bool
	}{
		{name: "proven", strategy: report.Strategy{Status: report.Ran}, claim: report.Claim{ID: 14, Status: report.Proven}},
		{name: "refuted", strategy: report.Strategy{Status: report.Ran}, claim: report.Claim{ID: 14, Status: report.Refuted}, want: true},
		{name: "not_measured", strategy: report.Strategy{Status: report.Ran}, claim: report.Claim{ID: 14, Status: report.NotRun}, want: true},
		{name: "out_of_reach", strategy: report.Strategy{Status: report.Ran}, claim: report.Claim{ID: 14, Status: report.NotRun, OutOfReach: true}},
		{name: "what_its_files_say", strategy: report.Strategy{Status: report.Ran}, claim: report.Claim{ID: 13, Status: report.Refuted}},
		{name: "servers_not_ready", strategy: report.Strategy{Status: report.NotRun, Reason: "2 of 3 are ready"}, want: true},
		{name: "no_mesh", strategy: report.Strategy{Status: report.NotRun, Reason: "Istio is not installed"}},
		{name: "no_image", strategy: report.Strategy{Status: report.NotRun, Reason: "image x cannot be had"}, notRun: "image x cannot be had"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.strategy.Name, test.claim.Strategy = "istio", "istio"
			r := report.Result{Strategies: []report.Strategy{{Name: "l4", Status: report.Ran}, test.strategy}, Claims: []report.Claim{test.claim}}
			measured := slices.DeleteFunc(slices.Clone(strategy.All()), func(s runner.Strategy) bool { return s.Name != "l4" && s.Name != "istio" })
			measured[1].NotRun = test.notRun
			var got, want []string
			if test.want {
				want = []string{"istio"}
			}
			for _, s := range runner.Doubtful(r, measured) {
				got = append(got, s.Name)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("measured again (-want +got):\n%s", diff)
			}
		})
	}
}
