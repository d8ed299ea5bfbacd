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

const (
	untrusted = `connection error: desc = "transport: authentication handshake failed: tls: failed to verify certificate: x509: certificate signed by unknown authority"`
	tooEarly  = `connection error: desc = "transport: authentication handshake failed: tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-08-01T10:00:00Z is before 2026-08-01T11:00:00Z"`
)

// refusedAfter is a client whose first call failed after so many seconds.
func refusedAfter(seconds float64, text string) *runner.ClientResult {
	return &runner.ClientResult{
		Summary: calllog.Summary{Calls: 10, Failures: map[string]int64{"Unavailable": 10}},
		Log: []calllog.Line{
			&calllog.Start{Header: calllog.Header{Time: at(0)}},
			&calllog.Failure{Header: calllog.Header{Time: at(seconds)}, Code: "Unavailable", Error: text},
		},
	}
}

// secure is k8s-api with mTLS: s1 to s3 are replaced by s4 to s6 while certificates rotate.
func secure() *observe.Facts {
	f := following("k8s-api")
	for _, c := range f.Clients {
		c.Windows[0].Opened, c.Windows[0].Verified = 3, 3
	}
	looked := *f.Phases[strategy.Steady]
	seen := &strategy.Secured{Stranger: refusedAfter(.2, untrusted)}
	for _, pod := range append([]string{"e1"}, originals...) {
		seen.Peers = append(seen.Peers, strategy.Peer{Pod: pod, Version: "TLS 1.3", Protocol: "h2", Serial: "1", Plain: "EOF", Bare: "tls: certificate required"})
	}
	seen.Peers[0].Proxy, seen.Peers[0].Bare = true, ""
	looked.Evidence = seen
	f.Phases[strategy.TLS] = &looked

	rotation := *f.Phases[strategy.ScaleOut]
	rotation.Evidence = &strategy.Rotation{
		Serial: "7",
		Steps: []strategy.Rotated{
			{What: "another certificate", At: at(13), Pods: append([]string{"c1"}, originals...), Seen: map[string]time.Time{"c1": at(63), "s1": at(60), "s2": at(70), "s3": at(100)}},
			{What: "one more authority", Hurried: true, At: at(101), Pods: originals, Seen: map[string]time.Time{"s1": at(105), "s2": at(106), "s3": at(107)}},
		},
		Replaced: added,
		Fresh: &runner.ClientResult{
			Summary: calllog.Summary{Calls: 30, Opened: 30, Verified: 30, Servers: map[string]int64{"s4": 10, "s5": 10, "s6": 10}},
			Log:     []calllog.Line{&calllog.Peer{Serial: "7"}, &calllog.Peer{Serial: "7"}},
		},
	}
	f.Phases[strategy.TLSRotation] = &rotation

	faults := *f.Phases[strategy.Steady]
	shown, said := map[string]string{"s1": "1", "s2": "1", "s3": "1"}, map[string]string{}
	for _, pod := range append(append([]string{}, clients...), originals...) {
		said[pod] = "the files are bad"
	}
	faults.Evidence = &strategy.FaultySecret{
		Kept: []strategy.KeptCertificate{
			{What: "a half of each file", Before: shown, After: shown, Want: "bad", Said: said},
			{What: "the key of another certificate", Before: shown, After: shown, Want: "bad", Said: said},
		},
		Early:       map[string]string{"s1": tooEarly, "s2": tooEarly},
		EarlyClient: refusedAfter(.3, tooEarly),
		Missing:     "waiting for Job tls-missing: its client has not ended: not in 20 s\n  event of Pod x: FailedMount MountVolume.SetUp failed for volume \"tls\" : secret \"echo-tls-missing\" not found",
	}
	f.Phases[strategy.TLSFaults] = &faults
	return f
}

func secured(f *observe.Facts) *strategy.Secured {
	return observe.EvidenceOf[*strategy.Secured](f, strategy.TLS)
}

func rotation(f *observe.Facts) *strategy.Rotation {
	return observe.EvidenceOf[*strategy.Rotation](f, strategy.TLSRotation)
}

func faulty(f *observe.Facts) *strategy.FaultySecret {
	return observe.EvidenceOf[*strategy.FaultySecret](f, strategy.TLSFaults)
}

// The claims about TLS are proven by what servers, proxies and clients show, and refuted by
// each way of showing less.
func TestTLSClaims(t *testing.T) {
	for _, test := range []struct {
		name   string
		claim  int
		change func(*observe.Facts)
		want   report.Status
	}{
		{name: "62_verified", claim: 62, want: report.Proven},
		{name: "62_plaintext_is_accepted", claim: 62, want: report.Refuted, change: func(f *observe.Facts) { secured(f).Peers[1].Plain = "" }},
		{name: "62_plaintext_is_accepted_by_a_proxy", claim: 62, want: report.Refuted, change: func(f *observe.Facts) { secured(f).Peers[0].Plain = "" }},
		{name: "62_no_certificate_is_accepted", claim: 62, want: report.Refuted, change: func(f *observe.Facts) { secured(f).Peers[2].Bare = "" }},
		{name: "62_another_protocol", claim: 62, want: report.Refuted, change: func(f *observe.Facts) { secured(f).Peers[2].Protocol = "" }},
		{name: "62_handshake_fails", claim: 62, want: report.Refuted, change: func(f *observe.Facts) { secured(f).Peers[2].Failed = untrusted }},
		{name: "62_a_server_was_not_looked_at", claim: 62, want: report.NotRun, change: func(f *observe.Facts) { secured(f).Peers = secured(f).Peers[:3] }},
		{name: "62_nobody_looked", claim: 62, want: report.NotRun, change: func(f *observe.Facts) { secured(f).Peers = nil }},
		{name: "62_a_client_calls_without_tls", claim: 62, want: report.Refuted, change: func(f *observe.Facts) { f.Clients["c2"].Windows[0].Verified = 2 }},
		{name: "62_a_client_says_nothing_of_tls", claim: 62, want: report.Refuted, change: func(f *observe.Facts) { f.Clients["c2"].Windows[0].Verified = 0 }},
		{name: "62_a_job_calls_without_tls", claim: 62, want: report.Refuted, change: func(f *observe.Facts) { rotation(f).Fresh.Summary.Opened = 31 }},
		{name: "62_no_call", claim: 62, want: report.Refuted, change: func(f *observe.Facts) {
			for _, c := range f.Clients {
				c.Windows = nil
			}
		}},

		{name: "63_rotated", claim: 63, want: report.Proven},
		{name: "63_one_pod_never_shows_it", claim: 63, want: report.Refuted, change: func(f *observe.Facts) { delete(rotation(f).Steps[1].Seen, "s2") }},
		{name: "63_one_pod_is_late", claim: 63, want: report.Refuted, change: func(f *observe.Facts) { rotation(f).Steps[0].Seen["s2"] = at(13 + 151) }},
		{name: "63_one_call_is_lost", claim: 63, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[outChange+1].Failures = map[string]int64{"Unavailable": 1}
		}},
		{name: "63_one_call_is_late", claim: 63, want: report.Proven, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[outChange+1].Failures = map[string]int64{"DeadlineExceeded": 1}
		}},
		{name: "63_a_client_does_not_trust_the_new_servers", claim: 63, want: report.Refuted, change: func(f *observe.Facts) {
			for _, s := range added {
				delete(f.Clients["c2"].First, s)
			}
		}},
		{name: "63_new_connections_fail", claim: 63, want: report.Refuted, change: func(f *observe.Facts) { rotation(f).Fresh.Summary.Servers["s4"]-- }},
		{name: "63_new_connections_get_an_old_certificate", claim: 63, want: report.Refuted, change: func(f *observe.Facts) { rotation(f).Fresh.Log[1].(*calllog.Peer).Serial = "6" }},
		{name: "63_new_connections_get_no_certificate", claim: 63, want: report.Refuted, change: func(f *observe.Facts) { rotation(f).Fresh.Log = nil }},
		{name: "63_one_client_never_has_it", claim: 63, want: report.Refuted, change: func(f *observe.Facts) { delete(rotation(f).Steps[0].Seen, "c1") }},
		{name: "63_no_new_connections", claim: 63, want: report.NotRun, change: func(f *observe.Facts) { rotation(f).Fresh = nil }},
		{name: "63_no_server_was_replaced", claim: 63, want: report.NotRun, change: func(f *observe.Facts) { rotation(f).Replaced = nil }},
		{name: "63_no_step", claim: 63, want: report.NotRun, change: func(f *observe.Facts) { rotation(f).Steps = nil }},

		{name: "64_refused", claim: 64, want: report.Proven},
		{name: "64_too_late", claim: 64, want: report.Refuted, change: func(f *observe.Facts) { secured(f).Stranger = refusedAfter(1.1, untrusted) }},
		{name: "64_another_reason", claim: 64, want: report.Refuted, change: func(f *observe.Facts) { secured(f).Stranger = refusedAfter(.1, "context deadline exceeded") }},
		{name: "64_answered", claim: 64, want: report.Refuted, change: func(f *observe.Facts) {
			secured(f).Stranger.Summary.Servers = map[string]int64{"s1": 1}
		}},
		{name: "64_no_start_in_the_log", claim: 64, want: report.NotRun, change: func(f *observe.Facts) {
			secured(f).Stranger.Log = secured(f).Stranger.Log[1:]
		}},
		{name: "64_no_failure_in_the_log", claim: 64, want: report.NotRun, change: func(f *observe.Facts) {
			secured(f).Stranger.Log = secured(f).Stranger.Log[:1]
		}},
		{name: "64_no_client", claim: 64, want: report.NotRun, change: func(f *observe.Facts) { secured(f).Stranger = nil }},

		{name: "65_told", claim: 65, want: report.Proven},
		{name: "65_a_broken_certificate_is_taken", claim: 65, want: report.Refuted, change: func(f *observe.Facts) {
			faulty(f).Kept[1].After = map[string]string{"s1": "1", "s2": "EOF", "s3": "1"}
		}},
		{name: "65_a_client_keeps_quiet_about_its_files", claim: 65, want: report.Refuted, change: func(f *observe.Facts) { faulty(f).Kept[0].Said["c2"] = "" }},
		{name: "65_an_early_one_is_accepted", claim: 65, want: report.Refuted, change: func(f *observe.Facts) { faulty(f).Early["s2"] = "7" }},
		{name: "65_the_client_is_not_told", claim: 65, want: report.Refuted, change: func(f *observe.Facts) { faulty(f).EarlyClient = refusedAfter(.1, "EOF") }},
		{name: "65_the_secret_is_not_named", claim: 65, want: report.Refuted, change: func(f *observe.Facts) {
			faulty(f).Missing = "waiting for Job tls-missing: its client has not ended: not in 20 s"
		}},
		{name: "65_one_call_is_lost", claim: 65, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[steadyBegin+1].Failures = map[string]int64{"Unavailable": 1}
		}},
		{name: "65_one_fault_is_missing", claim: 65, want: report.NotRun, change: func(f *observe.Facts) { faulty(f).Kept = faulty(f).Kept[:1] }},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := secure()
			if test.change != nil {
				test.change(f)
			}
			if got := claim(t, test.claim).Judge(f, observe.Reason{}); got.Status != test.want {
				t.Errorf("%s: %s %s, want %s", got.Status, got.Measured, got.Reason, test.want)
			}
		})
	}
}
