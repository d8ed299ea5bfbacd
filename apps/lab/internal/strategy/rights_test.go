package strategy_test

import (
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

// Limits follow from the cluster's DNS where clients or proxies look names up, and
// nowhere else.
func TestFollowsDNS(t *testing.T) {
	want := map[string]bool{"dns": true, "dns-max-age": true, "envoy": true, "l4": false, "k8s-api": false}
	for _, s := range strategy.All() {
		if follows, listed := want[s.Name]; listed && strategy.FollowsDNS(s) != follows {
			t.Errorf("%s follows DNS: %t, want %t", s.Name, !follows, follows)
		}
	}
}
