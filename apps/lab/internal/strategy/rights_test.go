package strategy_test

import (
	"slices"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// A claim whose reason is a limit of the cluster says so; what merely was not
// measured does not.
func TestJudgeOutOfReach(t *testing.T) {
	claim := claim(t, 8)
	for _, test := range []struct {
		name  string
		facts observe.Facts
		want  bool
	}{
		{name: "no_audit_log_ever", facts: observe.Facts{RequestsUnknown: observe.Reason{Kind: observe.OutOfReach, Text: "the log is out of reach"}}, want: true},
		{name: "broken_audit_log", facts: observe.Facts{RequestsUnknown: observe.Reason{Text: "reading it: EOF"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := claim.Judge(&test.facts, observe.Reason{}); got.OutOfReach != test.want || got.Status != report.NotRun {
				t.Errorf("claim %+v, want not run and out of reach %v", got, test.want)
			}
		})
	}
}

// The limits of these strategies follow from the cluster's DNS.
func TestFollowsDNS(t *testing.T) {
	var got []string
	for _, s := range strategy.All() {
		if strategy.FollowsDNS(s) {
			got = append(got, s.Name)
		}
	}
	if want := []string{"dns", "dns-max-age", "envoy"}; !slices.Equal(got, want) {
		t.Errorf("strategies %q, want %q", got, want)
	}
}
