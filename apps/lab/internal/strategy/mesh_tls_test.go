package strategy_test

import (
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// meshed is istio whose sidecars demand mTLS after a while.
func meshed() *observe.Facts {
	f := sidecars()
	p := *f.Phases[strategy.Steady]
	seen := &strategy.MeshSecured{Identities: map[string]strategy.Identity{}, Handshakes: strategy.Handshakes{"s1": 4, "s2": 3, "s3": 3}}
	for account, pods := range map[string][]string{"echo-client": clients, "echo-server": originals} {
		for _, pod := range pods {
			seen.Identities[pod] = strategy.Identity{Account: account, URIs: []string{"spiffe://cluster.local/ns/grpc-lb-istio/sa/" + account}}
		}
	}
	seen.Before = &runner.ClientResult{Summary: calllog.Summary{Calls: 20, Servers: map[string]int64{"s1": 20}}}
	seen.After = &runner.ClientResult{Summary: calllog.Summary{Calls: 20, Failures: map[string]int64{"Unavailable": 20}}, Failure: "Unavailable: connection reset by peer"}
	p.Evidence = seen
	f.Phases[strategy.MeshTLS] = &p
	return f
}

func meshSecured(f *observe.Facts) *strategy.MeshSecured {
	return observe.EvidenceOf[*strategy.MeshSecured](f, strategy.MeshTLS)
}

// The claims about a mesh's mTLS are proven by its sidecars' certificates and by who is
// refused, and refuted by each way of less.
func TestMeshTLSClaims(t *testing.T) {
	for _, test := range []struct {
		name   string
		claim  int
		change func(*observe.Facts)
		want   report.Status
	}{
		{name: "66_identified", claim: 66, want: report.Proven},
		{name: "66_another_account", claim: 66, want: report.Refuted, change: func(f *observe.Facts) {
			meshSecured(f).Identities["s2"] = strategy.Identity{Account: "echo-server", URIs: []string{"spiffe://cluster.local/ns/grpc-lb-istio/sa/echo-client"}}
		}},
		{name: "66_no_id", claim: 66, want: report.Refuted, change: func(f *observe.Facts) { meshSecured(f).Identities["s2"] = strategy.Identity{Account: "echo-server"} }},
		{name: "66_no_handshake", claim: 66, want: report.Refuted, change: func(f *observe.Facts) { meshSecured(f).Handshakes["s3"] = 0 }},
		{name: "66_one_was_not_asked", claim: 66, want: report.NotRun, change: func(f *observe.Facts) { delete(meshSecured(f).Identities, "c1") }},
		{name: "67_strict", claim: 67, want: report.Proven},
		{name: "67_still_answered", claim: 67, want: report.Refuted, change: func(f *observe.Facts) { meshSecured(f).After.Summary.Servers = map[string]int64{"s1": 1} }},
		{name: "67_refused_before_too", claim: 67, want: report.NotRun, change: func(f *observe.Facts) { meshSecured(f).Before.Summary.Servers = nil }},
		{name: "67_a_meshed_call_is_lost", claim: 67, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[steadyBegin+1].Failures = map[string]int64{"Unavailable": 1}
		}},
		{name: "67_nobody_called", claim: 67, want: report.NotRun, change: func(f *observe.Facts) { meshSecured(f).After = nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := meshed()
			if test.change != nil {
				test.change(f)
			}
			if got := claim(t, test.claim).Judge(f, observe.Reason{}); got.Status != test.want {
				t.Errorf("%s: %s %s, want %s", got.Status, got.Measured, got.Reason, test.want)
			}
		})
	}
}
