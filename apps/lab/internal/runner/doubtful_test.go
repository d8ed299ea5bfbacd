package runner_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// What another attempt could prove is measured again, and nothing else.
func TestDoubtful(t *testing.T) {
	for _, test := range []struct {
		name   string
		status report.Status
		reason observe.Reason
		claim  report.Claim
		want   bool
	}{
		{name: "proven", status: report.Ran, claim: report.Claim{ID: 14, Status: report.Proven}},
		{name: "refuted", status: report.Ran, claim: report.Claim{ID: 14, Status: report.Refuted}, want: true},
		{name: "not_measured", status: report.Ran, claim: report.Claim{ID: 14, Status: report.NotRun}, want: true},
		{name: "out_of_reach", status: report.Ran, claim: report.Claim{ID: 14, Status: report.NotRun, OutOfReach: true}},
		{name: "what_its_files_say", status: report.Ran, claim: report.Claim{ID: 13, Status: report.Refuted}},
		{name: "servers_not_ready", status: report.NotRun, reason: observe.Reason{Text: "2 of 3 are ready"}, want: true},
		{name: "no_mesh", status: report.NotRun, reason: observe.Reason{Kind: observe.Lacking, Text: "Istio is not installed"}},
		{name: "no_image", status: report.NotRun, reason: observe.Reason{Kind: observe.Lacking, Text: "image x cannot be had"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var measured []runner.Outcome
			for _, s := range strategy.All() {
				switch s.Name {
				case "l4":
					measured = append(measured, runner.OutcomeOf(s, report.Ran, observe.Reason{}))
				case "istio":
					measured = append(measured, runner.OutcomeOf(s, test.status, test.reason, test.claim))
				}
			}
			var got, want []string
			if test.want {
				want = []string{"istio"}
			}
			for _, s := range runner.Doubtful(measured) {
				got = append(got, s.Name)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("measured again (-want +got):\n%s", diff)
			}
		})
	}
}
