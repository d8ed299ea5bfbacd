package report_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// Exit code 0 needs that nothing is refuted and that everything required is
// proven; each way of missing that gives 1 and says why.
func TestExitCode(t *testing.T) {
	ran := func(claims ...report.Claim) report.Result {
		return report.Result{Strategies: []report.Strategy{{Name: "l4", Status: report.Ran}}, Claims: claims}
	}
	proven := report.Claim{ID: 1, Strategy: "l4", Status: report.Proven}
	refuted := report.Claim{ID: 2, Strategy: "l4", Status: report.Refuted, Text: "stays", Measured: "2 servers", Limit: "1 server"}
	missing := report.Claim{ID: 3, Strategy: "l4", Status: report.NotRun, Reason: "no scale-out"}
	for _, test := range []struct {
		name     string
		result   report.Result
		required []string
		want     int
		wantWhy  []string
	}{
		{name: "all_proven", result: ran(proven), required: []string{"l4"}, want: 0},
		{name: "nothing_required_nothing_refuted", result: ran(proven, missing), want: 0},
		{
			name: "refuted_though_not_required", result: ran(proven, refuted), want: 1,
			wantWhy: []string{"claim 2 is refuted for l4: stays: measured 2 servers, limit 1 server"},
		},
		{
			name: "required_claim_not_run", result: ran(proven, missing), required: []string{"l4"}, want: 1,
			wantWhy: []string{"claim 3 is required for l4 but was not run: no scale-out"},
		},
		{
			name: "required_strategy_absent", result: ran(proven), required: []string{"l4", "dns"}, want: 1,
			wantWhy: []string{"strategy dns is required but was not part of the run"},
		},
		{
			name: "required_strategy_not_run", required: []string{"istio"}, want: 1,
			result:  report.Result{Strategies: []report.Strategy{{Name: "istio", Status: report.NotRun, Reason: "Istio is not installed"}}},
			wantWhy: []string{"strategy istio is required but was not run: Istio is not installed"},
		},
		{
			name: "required_strategy_without_claims", result: ran(), required: []string{"l4"}, want: 1,
			wantWhy: []string{"strategy l4 is required but no claim about it is proven"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := report.ExitCode(test.result, test.required); got != test.want {
				t.Errorf("ExitCode = %d, want %d", got, test.want)
			}
			if diff := cmp.Diff(test.wantWhy, report.Shortcomings(test.result, test.required)); diff != "" {
				t.Errorf("Shortcomings (-want +got):\n%s", diff)
			}
		})
	}
}

// What the cluster cannot decide is not missing where nobody asked for it, but a
// strategy with nothing else is.
func TestWithinReach(t *testing.T) {
	proven := report.Claim{ID: 1, Strategy: "k8s-api", Status: report.Proven}
	beyond := report.Claim{ID: 8, Strategy: "k8s-api", Status: report.NotRun, Reason: "no audit log", OutOfReach: true}
	result := report.Result{Strategies: []report.Strategy{{Name: "k8s-api", Status: report.Ran}}, Claims: []report.Claim{proven, beyond}}
	if code := report.ExitCode(result, []string{"k8s-api"}); code != 1 {
		t.Errorf("ExitCode = %d where it is asked for, want 1", code)
	}
	if code := report.ExitCode(report.WithinReach(result), []string{"k8s-api"}); code != 0 {
		t.Errorf("ExitCode within reach = %d, want 0", code)
	}
	if len(result.Claims) != 2 {
		t.Error("the result itself was changed")
	}
	result.Claims = []report.Claim{beyond}
	if code := report.ExitCode(report.WithinReach(result), []string{"k8s-api"}); code != 1 {
		t.Errorf("ExitCode with nothing in reach = %d, want 1", code)
	}
}
