package strategy_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

const (
	apiRefused = `Unavailable: last resolver error: k8sresolver: list endpointslices.discovery.k8s.io of service "echo-server" in namespace "grpc-lb-k8s-api" as "system:serviceaccount:grpc-lb-k8s-api:echo-client": no connection to the API server 10.96.0.1:443: dial tcp 10.96.0.1:443: connect: connection refused`
	podRefused = `Unavailable: connection error: desc = "transport: Error while dialing: dial tcp 10.244.1.5:8080: connect: connection refused"`
)

// closed is a strategy under its policies, which refuse whom they should.
func closed(change func(*observe.Facts, *strategy.Closed)) *observe.Facts {
	f := watching()
	p := *f.Phases[strategy.Steady]
	seen := &strategy.Closed{
		Before:  strategy.Uninvited{Stranger: ran(10, 0, 3, ""), Neighbour: ran(10, 0, 3, "")},
		After:   strategy.Uninvited{Stranger: ran(0, 10, 0, podRefused), Neighbour: ran(0, 10, 0, podRefused)},
		Unruled: ran(0, 100, 0, apiRefused),
	}
	p.Evidence = seen
	f.Phases[strategy.NetworkPolicy] = &p
	if change != nil {
		change(f, seen)
	}
	return f
}

// What is claimed about NetworkPolicies is proven, refuted and not run as it should.
func TestNetworkPolicyClaims(t *testing.T) {
	type seen = strategy.Closed
	for _, test := range []struct {
		name   string
		claim  int
		change func(*observe.Facts, *seen)
		want   report.Status
	}{
		{name: "80_no_call_is_lost", claim: 80, want: report.Proven},
		{name: "80_one_is_lost", claim: 80, want: report.Refuted, change: func(f *observe.Facts, _ *seen) {
			f.Clients["c1"].Windows[5].Failures = map[string]int64{"Unavailable": 1}
		}},
		{name: "80_not_measured", claim: 80, want: report.NotRun, change: func(f *observe.Facts, _ *seen) {
			f.Phases[strategy.NetworkPolicy].NotMeasured = observe.Reason{Kind: observe.Lacking, Text: "this cluster does not enforce NetworkPolicies"}
		}},

		{name: "81_refused", claim: 81, want: report.Proven},
		{name: "81_silence", claim: 81, want: report.Proven, change: func(_ *observe.Facts, s *seen) {
			s.After.Stranger.Summary.Failures = map[string]int64{"DeadlineExceeded": 10}
		}},
		{name: "81_one_call_is_answered", claim: 81, want: report.Refuted, change: func(_ *observe.Facts, s *seen) { s.After.Stranger = ran(1, 9, 3, podRefused) }},
		{name: "81_refused_before", claim: 81, want: report.NotRun, change: func(_ *observe.Facts, s *seen) { s.Before.Stranger = ran(0, 10, 0, podRefused) }},
		{name: "81_no_calls_before", claim: 81, want: report.NotRun, change: func(_ *observe.Facts, s *seen) { s.Before.Stranger = nil }},
		{name: "81_no_calls_after", claim: 81, want: report.Refuted, change: func(_ *observe.Facts, s *seen) { s.After.Stranger = ran(0, 0, 0, "") }},

		{name: "82_refused", claim: 82, want: report.Proven},
		{name: "82_answered", claim: 82, want: report.Refuted, change: func(_ *observe.Facts, s *seen) { s.After.Neighbour = ran(10, 0, 3, "") }},
		{name: "82_no_calls_after", claim: 82, want: report.NotRun, change: func(_ *observe.Facts, s *seen) { s.After.Neighbour = nil }},

		{name: "83_says_so", claim: 83, want: report.Proven},
		{name: "83_silence", claim: 83, want: report.Proven, change: func(_ *observe.Facts, s *seen) { s.Unruled.Failure = apiSilent }},
		{name: "83_another_text", claim: 83, want: report.Refuted, change: func(_ *observe.Facts, s *seen) { s.Unruled.Failure = podRefused }},
		{name: "83_a_deadline", claim: 83, want: report.Refuted, change: func(_ *observe.Facts, s *seen) {
			s.Unruled.Summary.Failures = map[string]int64{"DeadlineExceeded": 100}
		}},
		{name: "83_one_call_is_answered", claim: 83, want: report.Refuted, change: func(_ *observe.Facts, s *seen) { s.Unruled = ran(1, 99, 3, apiRefused) }},
		{name: "83_no_client", claim: 83, want: report.NotRun, change: func(_ *observe.Facts, s *seen) { s.Unruled = nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := claim(t, test.claim).Evaluate(closed(test.change)); got.Status != test.want {
				t.Errorf("claim %d is %s (%s%s), want %s", test.claim, got.Status, got.Measured, got.Reason.Text, test.want)
			}
		})
	}
}

// What a client must say that cannot reach the API server is what the resolver's README
// promises.
func TestPromisedWithoutAPI(t *testing.T) {
	readme, err := os.ReadFile("../../../k8sresolver/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range strategy.UnreachableAPI {
		if !strings.Contains(string(readme), text) {
			t.Errorf("the README of the resolver has no row with %q", text)
		}
	}
}

// The usual experiments are made after that of the policies, whatever else is asked for, and
// the usual claims are judged with its own.
func TestAskingUsual(t *testing.T) {
	some, oneByOne, err := strategy.Asking(strategy.All(), []string{strategy.NetworkPolicy, strategy.ScaleZero})
	if err != nil || oneByOne {
		t.Fatalf("one by one %t, error %v: expected neither", oneByOne, err)
	}
	for _, s := range some {
		usual := strategy.All()[slices.IndexFunc(strategy.All(), func(u runner.Strategy) bool { return u.Name == s.Name })]
		at := slices.IndexFunc(s.Experiments, func(e runner.Experiment) bool { return e.Name == strategy.NetworkPolicy })
		if at < 0 || len(s.Experiments)-at-1 != len(usual.Experiments) {
			t.Errorf("%s: experiment %d of %d is that of the policies: expected the %d usual ones after it", s.Name, at, len(s.Experiments), len(usual.Experiments))
		}
		for _, c := range usual.Claims {
			if !slices.ContainsFunc(s.Claims, func(judged runner.Claim) bool { return judged.ID == c.ID }) {
				t.Errorf("%s: claim %d is not judged", s.Name, c.ID)
			}
		}
		if !s.NeedsPolicies(runner.Prove) {
			t.Errorf("%s needs no NetworkPolicies enforced", s.Name)
		}
	}
}

// A Job of the lab gets the rules of the client under a label of its own, and no other
// policy changes; the one that admits the API server has the name by which it is found.
func TestPoliciesForProbes(t *testing.T) {
	for name, want := range map[string][]string{
		"l4":      {"lab-echo-client", "lab-echo-server"},
		"k8s-api": {"lab-api-server", "lab-echo-client", "lab-echo-server"},
		"envoy":   {"lab-client-to-envoy", "lab-echo-client", "lab-echo-server", "lab-envoy"},
		"xds":     {"lab-echo-client", "lab-echo-server", "lab-istiod"},
	} {
		policies, err := manifesttest.Checkout(t).Policies(name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range strategy.ForProbes(policies, "echo-client") {
			got = append(got, o.GetName())
			text, err := o.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if spec := string(text); !strings.Contains(spec, `"app.kubernetes.io/name":"`+runner.ProbeName+`"`) {
				t.Errorf("%s: %s does not select the Jobs: %s", name, o.GetName(), spec)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: policies %q, want %q", name, got, want)
		}
		if slices.ContainsFunc(policies, func(o *unstructured.Unstructured) bool { return strings.HasPrefix(o.GetName(), "lab-") }) {
			t.Errorf("%s: the overlay's own policies changed", name)
		}
	}
}
