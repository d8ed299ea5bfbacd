package strategy_test

import (
	"os"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// The timetable of what is away, within that of every scene.
const (
	awayFrom, awayUntil = 4, 24
	awayEnd             = 45
)

// ran is a client that ran as a Job.
func ran(answered, unavailable int64, slowest float64, failure string) *runner.ClientResult {
	r := &runner.ClientResult{Failure: failure, Summary: calllog.Summary{
		Calls: answered + unavailable, Servers: map[string]int64{"s1": answered}, Latency: calllog.Latency{P999: slowest},
	}}
	if unavailable > 0 {
		r.Summary.Failures = map[string]int64{"Unavailable": unavailable}
	}
	return r
}

// deprived is a strategy from which something is taken, beside its new clients.
func deprived(experiment, name string, n *strategy.Newcomers) func() *observe.Facts {
	return func() *observe.Facts {
		f := scene(name, func(_, s int) []string {
			if s >= awayUntil+2 {
				return append(append([]string{}, originals...), added...)
			}
			return originals
		})
		copied := strategy.Newcomers{}
		for _, c := range []struct{ from, to **runner.ClientResult }{{&n.Plain, &copied.Plain}, {&n.Patient, &copied.Patient}} {
			if *c.from != nil {
				one := **c.from
				*c.to = &one
			}
		}
		f.Phases[experiment] = &observe.Phase{
			Begin: at(awayFrom - 1), Change: at(awayFrom), Restored: at(awayUntil), End: at(awayEnd),
			Clients: clients, Servers: originals, Added: added, Evidence: &copied,
		}
		return f
	}
}

func newcomers(f *observe.Facts, experiment string) *strategy.Newcomers {
	return observe.EvidenceOf[*strategy.Newcomers](f, experiment)
}

const (
	apiSilent = `Unavailable: last resolver error: k8sresolver: watch endpointslices.discovery.k8s.io of service "echo-server" in namespace "grpc-lb-k8s-api" as "system:serviceaccount:grpc-lb-k8s-api:echo-client": no answer from the API server within 900ms`
	dnsSilent = `Unavailable: name resolver error: dns: A record lookup error: lookup echo-server on 10.96.0.10:53: read udp 10.244.1.7:41211->10.96.0.10:53: i/o timeout`
)

// blackHole is a strategy whose server s3 and client c3 are on a node that is cut off. The
// others' calls to s3 fail for a number of seconds.
func blackHole(name string, seconds int) func() *observe.Facts {
	return func() *observe.Facts {
		f := scene(name, func(_, s int) []string {
			if s >= awayFrom && s < awayUntil {
				return originals[:2]
			}
			return originals
		})
		f.Nodes = map[string]string{"s1": "n1", "s2": "n1", "s3": "n2", "c1": "n1", "c2": "n1", "c3": "n2"}
		f.Endpoints = []observe.EndpointEvent{
			{At: at(-1), Ready: map[string]string{"s1": "10.0.0.1", "s2": "10.0.0.2", "s3": "10.0.0.3"}},
			{At: at(awayUntil - 1), Ready: map[string]string{"s1": "10.0.0.1", "s2": "10.0.0.2"}},
			{At: at(awayUntil + 5), Ready: map[string]string{"s1": "10.0.0.1", "s2": "10.0.0.2", "s3": "10.0.0.3"}},
		}
		for _, c := range clients {
			for s := awayFrom; s < awayFrom+seconds; s++ {
				f.Clients[c].Windows[s].Failures = map[string]int64{"DeadlineExceeded": 17}
			}
		}
		f.Phases[strategy.NodeAway] = &observe.Phase{
			Begin: at(awayFrom - 1), Change: at(awayFrom), Restored: at(awayUntil), End: at(awayEnd),
			Clients: clients, Servers: originals, Evidence: &strategy.CutOff{Node: "n2"},
		}
		return f
	}
}

// What is claimed about things that are away is proven, refuted and not run as it should.
func TestClaimsAway(t *testing.T) {
	k8s := deprived(strategy.APIAway, "k8s-api", &strategy.Newcomers{Plain: ran(0, 100, 0, apiSilent), Patient: ran(200, 0, 19000, "")})
	l4 := deprived(strategy.APIAway, "l4", &strategy.Newcomers{Plain: ran(100, 0, 3, "")})
	nameless := deprived(strategy.DNSAway, "dns", &strategy.Newcomers{Plain: ran(0, 660, 0, dnsSilent)})
	known := deprived(strategy.DNSAway, "k8s-api", &strategy.Newcomers{Plain: ran(100, 0, 3, "")})
	one := func(f *observe.Facts) { f.Clients["c2"].Windows[12].Failures = map[string]int64{"Unavailable": 1} }
	notMeasured := func(experiment string) func(*observe.Facts) {
		return func(f *observe.Facts) {
			f.Phases[experiment].NotMeasured = observe.Reason{Text: "fault: its process ended before it was mended"}
		}
	}
	for _, test := range []struct {
		name   string
		claim  int
		scene  func() *observe.Facts
		change func(*observe.Facts)
		want   report.Status
	}{
		{name: "51_go_on", claim: 51, scene: l4, want: report.Proven},
		{name: "51_one_call_fails", claim: 51, scene: l4, want: report.Refuted, change: one},
		{name: "51_a_client_is_stuck_for_a_while", claim: 51, scene: l4, want: report.Refuted, change: func(f *observe.Facts) {
			for s := awayFrom; s < awayUntil; s++ {
				f.Clients["c2"].Windows[s].Failures = map[string]int64{"DeadlineExceeded": 50}
			}
		}},
		{name: "51_fault_ended_early", claim: 51, scene: l4, want: report.NotRun, change: notMeasured(strategy.APIAway)},

		{name: "52_says_so_waits_and_catches_up", claim: 52, scene: k8s, want: report.Proven},
		{name: "52_one_call_is_answered", claim: 52, scene: k8s, want: report.Refuted, change: func(f *observe.Facts) {
			newcomers(f, strategy.APIAway).Plain = ran(1, 99, 0, apiSilent)
		}},
		{name: "52_another_text", claim: 52, scene: k8s, want: report.Refuted, change: func(f *observe.Facts) {
			newcomers(f, strategy.APIAway).Plain.Failure = "Unavailable: no children to pick from"
		}},
		{name: "52_a_deadline", claim: 52, scene: k8s, want: report.Refuted, change: func(f *observe.Facts) {
			newcomers(f, strategy.APIAway).Plain.Summary.Failures = map[string]int64{"DeadlineExceeded": 100}
		}},
		{name: "52_a_patient_call_fails", claim: 52, scene: k8s, want: report.Refuted, change: func(f *observe.Facts) {
			newcomers(f, strategy.APIAway).Patient = ran(199, 1, 19000, apiSilent)
		}},
		{name: "52_no_call_waits", claim: 52, scene: k8s, want: report.NotRun, change: func(f *observe.Facts) {
			newcomers(f, strategy.APIAway).Patient = ran(200, 0, 4, "")
		}},
		{name: "52_a_pod_is_never_called", claim: 52, scene: k8s, want: report.Refuted, change: func(f *observe.Facts) {
			delete(f.Clients["c3"].First, "s6")
		}},
		{name: "52_a_pod_is_called_late", claim: 52, scene: k8s, want: report.Refuted, change: func(f *observe.Facts) {
			f.Phases[strategy.APIAway].End = at(awayUntil + 32)
			f.Clients["c3"].First["s6"] = at(awayUntil + 31)
		}},
		{name: "52_a_pod_is_called_meanwhile", claim: 52, scene: k8s, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c3"].First["s6"] = at(awayUntil - 1)
		}},
		{name: "52_nothing_added", claim: 52, scene: k8s, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.APIAway].Added = nil
		}},
		{name: "52_no_new_client", claim: 52, scene: k8s, want: report.NotRun, change: func(f *observe.Facts) {
			newcomers(f, strategy.APIAway).Plain = nil
		}},

		{name: "53_starts", claim: 53, scene: l4, want: report.Proven},
		{name: "53_one_call_fails", claim: 53, scene: l4, want: report.Refuted, change: func(f *observe.Facts) {
			newcomers(f, strategy.APIAway).Plain = ran(99, 1, 3, "Unavailable: connection refused")
		}},
		{name: "53_no_new_client", claim: 53, scene: l4, want: report.NotRun, change: func(f *observe.Facts) {
			newcomers(f, strategy.APIAway).Plain = nil
		}},

		{name: "54_go_on", claim: 54, scene: nameless, want: report.Proven},
		{name: "54_one_call_fails", claim: 54, scene: nameless, want: report.Refuted, change: one},
		{name: "54_no_calls", claim: 54, scene: nameless, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.DNSAway].Clients = nil
		}},

		{name: "55_says_so", claim: 55, scene: nameless, want: report.Proven},
		{name: "55_a_call_is_answered", claim: 55, scene: nameless, want: report.Refuted, change: func(f *observe.Facts) {
			newcomers(f, strategy.DNSAway).Plain = ran(1, 659, 3, dnsSilent)
		}},
		{name: "55_another_text", claim: 55, scene: nameless, want: report.Refuted, change: func(f *observe.Facts) {
			newcomers(f, strategy.DNSAway).Plain.Failure = "Unavailable: connection refused"
		}},
		{name: "55_no_new_client", claim: 55, scene: nameless, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.DNSAway].Evidence = nil
		}},

		{name: "56_starts", claim: 56, scene: known, want: report.Proven},
		{name: "56_cannot_resolve", claim: 56, scene: known, want: report.Refuted, change: func(f *observe.Facts) {
			newcomers(f, strategy.DNSAway).Plain = ran(0, 100, 0, dnsSilent)
		}},
		{name: "56_not_measured", claim: 56, scene: known, want: report.NotRun, change: notMeasured(strategy.DNSAway)},

		{name: "57_found", claim: 57, scene: blackHole("dns", 11), want: report.Proven},
		{name: "57_found_too_late", claim: 57, scene: blackHole("dns", 16), want: report.Refuted},
		{name: "57_a_call_fails_later", claim: 57, scene: blackHole("dns", 11), want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[awayUntil+1].Failures = map[string]int64{"Unavailable": 1}
		}},
		{name: "57_a_call_of_the_node_itself_fails_later", claim: 57, scene: blackHole("dns", 11), want: report.Proven, change: func(f *observe.Facts) {
			f.Clients["c3"].Windows[awayUntil].Failures = map[string]int64{"Unavailable": 1}
		}},
		{name: "57_nothing_to_lose", claim: 57, scene: blackHole("dns", 0), want: report.NotRun},
		{name: "57_log_ends", claim: 57, scene: blackHole("dns", 11), want: report.NotRun, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows = f.Clients["c1"].Windows[:awayUntil-2]
		}},
		{name: "57_no_node", claim: 57, scene: blackHole("dns", 11), want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.NodeAway].Evidence = nil
		}},

		{name: "58_works_when_dropped", claim: 58, scene: blackHole("l4", awayUntil-awayFrom), want: report.Proven},
		{name: "58_works_before", claim: 58, scene: blackHole("l4", 11), want: report.Proven},
		{name: "58_fails_on", claim: 58, scene: blackHole("l4", 11), want: report.Refuted, change: func(f *observe.Facts) {
			f.Endpoints[1].At = at(awayFrom + 5)
			f.Clients["c2"].Windows[awayFrom+36].Failures = map[string]int64{"DeadlineExceeded": 20}
		}},
		{name: "58_never_dropped", claim: 58, scene: blackHole("l4", 11), want: report.NotRun, change: func(f *observe.Facts) {
			f.Endpoints = f.Endpoints[:1]
		}},
		{name: "58_nothing_to_lose", claim: 58, scene: blackHole("l4", 0), want: report.NotRun},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := test.scene()
			if test.change != nil {
				test.change(f)
			}
			if got := claim(t, test.claim).Evaluate(f); got.Status != test.want {
				t.Errorf("claim %d is %s (%s%s), want %s", test.claim, got.Status, got.Measured, got.Reason.Text, test.want)
			}
		})
	}
}

// What a new client must say while the API server is silent is what the resolver's README
// promises.
func TestPromisedError(t *testing.T) {
	readme, err := os.ReadFile("../../../k8sresolver/README.md")
	if err != nil {
		t.Fatal(err)
	}
	promised := "watch endpointslices.discovery.k8s.io of service \"echo-server\" in namespace \"shop\" as \"system:serviceaccount:shop:client\": " + strategy.SilentAPI + "` |"
	if !strings.Contains(string(readme), promised) {
		t.Errorf("the README of the resolver has no row with %q", promised)
	}
	if !strings.Contains(apiSilent, strategy.SilentAPI) {
		t.Errorf("%q does not contain %q", apiSilent, strategy.SilentAPI)
	}
}
