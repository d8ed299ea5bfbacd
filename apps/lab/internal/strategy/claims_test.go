package strategy_test

import (
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

func claim(t *testing.T, id int) runner.Claim {
	t.Helper()
	for _, s := range strategy.All() {
		for _, c := range s.Claims {
			if c.ID == id {
				return c
			}
		}
	}
	for _, a := range strategy.OnRequest() {
		for _, c := range a.Claims {
			if c.ID == id {
				return c.Claim
			}
		}
	}
	t.Fatalf("there is no claim %d", id)
	return runner.Claim{}
}

// Every claim is proven by what its strategy really does, refuted by each way of
// not doing it, and not run where the measurement is missing.
func TestClaims(t *testing.T) {
	const endpointSlices = "endpointslices.discovery.k8s.io"
	for _, test := range []struct {
		name   string
		claim  int
		scene  func() *observe.Facts
		change func(*observe.Facts)
		want   report.Status
	}{
		{name: "1_spread", claim: 1, scene: pinned, want: report.Proven},
		{name: "1_one_server_gets_all", claim: 1, scene: pinned, want: report.Refuted, change: func(f *observe.Facts) {
			fresh(f).Summary.Servers = map[string]int64{"s1": 300}
		}},
		{name: "1_one_server_gets_double", claim: 1, scene: pinned, want: report.Refuted, change: func(f *observe.Facts) {
			fresh(f).Summary.Servers = map[string]int64{"s1": 150, "s2": 75, "s3": 75}
		}},
		{name: "1_one_call_fails", claim: 1, scene: pinned, want: report.Proven, change: func(f *observe.Facts) {
			fresh(f).Summary.Servers["s2"]--
			fresh(f).Summary.Failures = map[string]int64{"DeadlineExceeded": 1}
		}},
		{name: "1_one_server_fails", claim: 1, scene: pinned, want: report.Refuted, change: func(f *observe.Facts) {
			delete(fresh(f).Summary.Servers, "s2")
			fresh(f).Summary.Failures = map[string]int64{"Unavailable": 110}
		}},
		{name: "1_too_few_answers", claim: 1, scene: pinned, want: report.Refuted, change: func(f *observe.Facts) {
			fresh(f).Summary.Servers = map[string]int64{"s1": 3, "s2": 3, "s3": 3}
			fresh(f).Summary.Failures = map[string]int64{"Unavailable": 291}
		}},
		{name: "1_calls_are_missing", claim: 1, scene: pinned, want: report.NotRun, change: func(f *observe.Facts) {
			fresh(f).Wanted = 301
		}},
		{name: "1_unknown_server", claim: 1, scene: pinned, want: report.Refuted, change: func(f *observe.Facts) {
			fresh(f).Summary.Servers = map[string]int64{"s1": 75, "s2": 75, "s3": 75, "s9": 75}
		}},
		{name: "1_no_job", claim: 1, scene: pinned, want: report.NotRun, change: func(f *observe.Facts) { f.Phases[strategy.FreshConnections].Evidence = nil }},

		{name: "2_pinned", claim: 2, scene: pinned, want: report.Proven},
		{name: "2_balanced", claim: 2, scene: watching, want: report.Refuted},
		{name: "2_moves_in_scale_out", claim: 2, scene: pinned, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c2"].Windows[20].Servers = map[string]int64{"s3": 50}
		}},
		{name: "2_no_answer", claim: 2, scene: pinned, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c2"].Windows = nil
		}},
		{name: "2_not_measured", claim: 2, scene: pinned, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.Steady].NotMeasured = observe.Reason{Text: "no steady state"}
		}},
		{name: "2_single_server", claim: 2, scene: pinned, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.Steady].Servers = []string{"s1"}
		}},

		{name: "3_unmoved", claim: 3, scene: pinned, want: report.Proven},
		{name: "3_balanced", claim: 3, scene: watching, want: report.Refuted},
		{name: "3_moved", claim: 3, scene: pinned, want: report.Refuted, change: func(f *observe.Facts) {
			for i := outChange; i < outEnd; i++ {
				f.Clients["c1"].Windows[i].Servers = map[string]int64{"s4": 50}
			}
		}},
		{name: "3_reconnected_to_the_same", claim: 3, scene: pinned, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[20].Opened = 1
		}},
		{name: "3_nothing_added", claim: 3, scene: pinned, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.ScaleOut].Added = nil
		}},

		{name: "4_follows", claim: 4, scene: trailing, want: report.Proven},
		{name: "4_follows_too_late", claim: 4, scene: trailing, want: report.Refuted, change: func(f *observe.Facts) {
			lookups(f).All[2].At = at(addedReady + 10.5)
		}},
		{name: "4_never_follows", claim: 4, scene: trailing, want: report.Refuted, change: func(f *observe.Facts) {
			lookups(f).All[2].At, lookups(f).All[2].Addresses = at(addedReady+10.5), addresses(5)
		}},
		{name: "4_no_look_up_at_the_limit", claim: 4, scene: trailing, want: report.NotRun, change: func(f *observe.Facts) {
			lookups(f).All = lookups(f).All[:2]
		}},

		{name: "5_even", claim: 5, scene: watching, want: report.Proven},
		{name: "5_even_by_dns", claim: 5, scene: trailing, want: report.Proven},
		{name: "5_pinned", claim: 5, scene: pinned, want: report.Refuted},
		{name: "5_off_by_two", claim: 5, scene: watching, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[8].Servers = map[string]int64{"s1": 18, "s2": 15, "s3": 17}
		}},
		{name: "5_stranger_answers", claim: 5, scene: watching, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[8].Servers = map[string]int64{"s1": 17, "s2": 17, "s9": 16}
		}},
		{name: "5_uneven_beside_an_update", claim: 5, scene: watching, want: report.Proven, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[5].Servers = map[string]int64{"s1": 50}
			f.Endpoints = append(f.Endpoints[:1:1], append([]observe.EndpointEvent{{At: at(5.5)}}, f.Endpoints[1:]...)...)
		}},
		{name: "5_uneven_beside_a_failure", claim: 5, scene: watching, want: report.Proven, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[5].Servers = map[string]int64{"s1": 17, "s2": 17, "s3": 15}
			f.Clients["c1"].Windows[5].Failures = map[string]int64{"DeadlineExceeded": 1}
		}},
		{name: "5_uneven_within_open_windows", claim: 5, scene: watching, want: report.Proven, change: func(f *observe.Facts) {
			w := f.Clients["c1"].Windows
			w[5].Barrier = false
			w[5].Servers, w[6].Servers = map[string]int64{"s1": 10, "s2": 20, "s3": 20}, map[string]int64{"s1": 23, "s2": 14, "s3": 13}
		}},
		{name: "5_no_barrier", claim: 5, scene: watching, want: report.NotRun, change: func(f *observe.Facts) {
			for i := range f.Clients["c1"].Windows {
				f.Clients["c1"].Windows[i].Barrier = false
			}
		}},
		{name: "5_not_measured", claim: 5, scene: watching, want: report.NotRun, change: func(f *observe.Facts) {
			delete(f.Phases, strategy.Steady)
		}},

		{name: "6_missed", claim: 6, scene: trailing, want: report.Proven},
		{name: "6_seen", claim: 6, scene: watching, want: report.Refuted},
		{name: "6_one_seen_by_one", claim: 6, scene: trailing, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c3"].First["s5"] = at(outEnd - 1)
		}},
		{name: "6_not_measured", claim: 6, scene: trailing, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.ScaleOut].NotMeasured = observe.Reason{Text: "2 of 6 are ready"}
		}},

		{name: "7_relearned", claim: 7, scene: trailing, want: report.Proven},
		{name: "7_never", claim: 7, scene: trailing, want: report.Refuted, change: func(f *observe.Facts) {
			delete(f.Clients["c2"].First, "s6")
		}},
		{name: "7_too_late", claim: 7, scene: trailing, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c2"].First["s6"] = at(leftChange + 40.5)
		}},
		{name: "7_new_server_left", claim: 7, scene: trailing, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.ServerLeaves].Left = "s4"
		}},
		{name: "7_known_before", claim: 7, scene: watching, want: report.NotRun},

		{name: "8_lists_then_watches", claim: 8, scene: watching, want: report.Proven},
		{name: "8_streamed", claim: 8, scene: watching, want: report.Proven, change: func(f *observe.Facts) {
			f.Requests = nil
			for _, c := range clients {
				f.Requests = append(f.Requests, observe.Request{Pod: c, At: at(0), Verb: "watch", Resource: endpointSlices, Streamed: true, Code: 200})
			}
		}},
		{name: "8_watch_resumed", claim: 8, scene: watching, want: report.Proven, change: func(f *observe.Facts) {
			f.Requests = append(f.Requests, observe.Request{Pod: "c1", At: at(9), Verb: "watch", Resource: endpointSlices, Code: 200})
		}},
		{name: "8_polls", claim: 8, scene: watching, want: report.Refuted, change: func(f *observe.Facts) {
			for i := range f.Requests {
				f.Requests[i].Verb = "list"
			}
		}},
		{name: "8_watches_blindly", claim: 8, scene: watching, want: report.Refuted, change: func(f *observe.Facts) {
			f.Requests = f.Requests[1:]
		}},
		{name: "8_asks_for_more", claim: 8, scene: watching, want: report.Refuted, change: func(f *observe.Facts) {
			f.Requests = append(f.Requests, observe.Request{Pod: "c2", At: at(9), Verb: "list", Resource: "pods", Code: 200})
		}},
		{name: "8_gets_one", claim: 8, scene: watching, want: report.Refuted, change: func(f *observe.Facts) {
			f.Requests[0].Verb = "get"
		}},
		{name: "8_forbidden", claim: 8, scene: watching, want: report.Refuted, change: func(f *observe.Facts) { f.Requests[0].Code = 403 }},
		{name: "8_asks_nothing", claim: 8, scene: watching, want: report.Refuted, change: func(f *observe.Facts) { f.Requests = f.Requests[:4] }},
		{name: "8_no_audit_log", claim: 8, scene: watching, want: report.NotRun, change: func(f *observe.Facts) {
			f.RequestsUnknown = observe.Reason{Kind: observe.OutOfReach, Text: "the audit log of this cluster is out of reach"}
		}},

		{name: "9_called", claim: 9, scene: watching, want: report.Proven},
		{name: "9_never", claim: 9, scene: trailing, want: report.Refuted},
		{name: "9_too_late", claim: 9, scene: watching, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].First["s5"] = at(addedReady + 5.1)
		}},
		{name: "9_one_pod_missed_by_one", claim: 9, scene: watching, want: report.Refuted, change: func(f *observe.Facts) {
			delete(f.Clients["c1"].First, "s5")
		}},
		{name: "9_nothing_added", claim: 9, scene: watching, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.ScaleOut].Added = nil
		}},

		{name: "15_accounted", claim: 15, scene: watching, want: report.Proven},
		{name: "15_accounted_with_a_job", claim: 15, scene: pinned, want: report.Proven},
		{name: "15_answer_came_too_late", claim: 15, scene: watching, want: report.Proven, change: func(f *observe.Facts) {
			c := f.Clients["c1"]
			c.Windows[5].Servers["s1"]--
			c.Windows[5].Failures = map[string]int64{"DeadlineExceeded": 1}
			c.Summary.Servers["s1"]--
			c.Summary.Failures = map[string]int64{"DeadlineExceeded": 1}
		}},
		{name: "15_window_lost", claim: 15, scene: watching, want: report.Refuted, change: func(f *observe.Facts) {
			c := f.Clients["c1"]
			c.Windows = append(c.Windows[:5:5], c.Windows[6:]...)
		}},
		{name: "15_window_names_too_few", claim: 15, scene: watching, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[5].Servers["s1"]--
		}},
		{name: "15_summary_differs", claim: 15, scene: watching, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].Summary.Calls++
		}},
		{name: "15_summary_names_another", claim: 15, scene: watching, want: report.Refuted, change: func(f *observe.Facts) {
			s := f.Clients["c1"].Summary.Servers
			s["s1"], s["s2"] = s["s1"]-1, s["s2"]+1
		}},
		{name: "15_server_counted_fewer", claim: 15, scene: watching, want: report.Refuted, change: func(f *observe.Facts) { *f.Servers["s2"].Calls-- }},
		{name: "15_server_counted_more", claim: 15, scene: watching, want: report.Refuted, change: func(f *observe.Facts) { *f.Servers["s2"].Calls++ }},
		{name: "15_new_version_of_a_route", claim: 15, scene: watching, want: report.Proven, change: func(f *observe.Facts) {
			f.Phases[strategy.Routes] = &observe.Phase{}
			renameServer(f, "s2", f.Server+"-next-1")
		}},
		{name: "15_new_version_without_a_route", claim: 15, scene: watching, want: report.Refuted, change: func(f *observe.Facts) {
			renameServer(f, "s2", f.Server+"-next-1")
		}},
		{name: "15_unknown_server", claim: 15, scene: watching, want: report.Refuted, change: func(f *observe.Facts) { delete(f.Servers, "s2") }},
		{name: "15_no_summary", claim: 15, scene: watching, want: report.NotRun, change: func(f *observe.Facts) { f.Clients["c1"].Summary = nil }},
		{name: "15_log_not_whole", claim: 15, scene: watching, want: report.NotRun, change: func(f *observe.Facts) { f.Servers["s1"].Trouble = "gone" }},
		{name: "15_no_logs", claim: 15, scene: watching, want: report.NotRun, change: func(f *observe.Facts) {
			f.Clients = map[string]*observe.Client{}
		}},

		{name: "13_same", claim: 13, scene: sidecars, want: report.Proven},
		{name: "13_differs", claim: 13, scene: sidecars, want: report.Refuted, change: func(f *observe.Facts) {
			f.Differs = &[]string{"Deployment/echo-client differs"}
		}},
		{name: "13_not_compared", claim: 13, scene: sidecars, want: report.NotRun, change: func(f *observe.Facts) { f.Differs = nil }},

		{name: "14_balanced", claim: 14, scene: sidecars, want: report.Proven},
		{name: "14_a_call_failed", claim: 14, scene: sidecars, want: report.Refuted, change: func(f *observe.Facts) {
			proxied(f).Clients[0].Summary.Servers["s1"]--
			proxied(f).Clients[0].Sent["s1"]--
		}},
		{name: "14_a_server_is_idle", claim: 14, scene: sidecars, want: report.Refuted, change: func(f *observe.Facts) {
			proxied(f).Clients[1].Summary.Servers = map[string]int64{"s1": 500, "s2": 500}
			proxied(f).Clients[1].Sent = map[string]int64{"s1": 500, "s2": 500}
		}},
		{name: "14_uneven", claim: 14, scene: sidecars, want: report.Refuted, change: func(f *observe.Facts) {
			proxied(f).Clients[1].Summary.Servers = map[string]int64{"s1": 600, "s2": 300, "s3": 100}
			proxied(f).Clients[1].Sent = map[string]int64{"s1": 600, "s2": 300, "s3": 100}
		}},
		{name: "14_proxy_counted_more", claim: 14, scene: sidecars, want: report.Refuted, change: func(f *observe.Facts) { proxied(f).Clients[0].Sent["s2"]++ }},
		{name: "14_proxy_counted_none", claim: 14, scene: sidecars, want: report.Refuted, change: func(f *observe.Facts) { proxied(f).Clients[0].Sent = nil }},
		{name: "14_balanced_without_a_sidecar_too", claim: 14, scene: sidecars, want: report.Refuted, change: func(f *observe.Facts) {
			proxied(f).Bare.Servers = map[string]int64{"s1": 500, "s2": 500}
		}},
		{name: "14_no_client_without_a_sidecar", claim: 14, scene: sidecars, want: report.NotRun, change: func(f *observe.Facts) { proxied(f).Bare = nil }},
		{name: "14_single_server", claim: 14, scene: sidecars, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.ThroughSidecar].Servers = []string{"s1"}
		}},

		{name: "15_with_jobs", claim: 15, scene: sidecars, want: report.Proven},
		{name: "15_a_job_is_not_counted", claim: 15, scene: sidecars, want: report.Refuted, change: func(f *observe.Facts) { proxied(f).Bare = nil }},

		{name: "16_goes_on", claim: 16, scene: sidecars, want: report.Proven},
		{name: "16_pinned", claim: 16, scene: sidecars, want: report.Refuted, change: func(f *observe.Facts) {
			for _, w := range f.Clients["c1"].Windows {
				clear(w.Servers)
				w.Servers["s1"] = 50
			}
		}},
		{name: "16_a_call_is_late", claim: 16, scene: sidecars, want: report.Proven, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[steadyBegin+3].Failures = map[string]int64{"DeadlineExceeded": 1}
		}},
		{name: "16_a_call_is_lost", claim: 16, scene: sidecars, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[steadyBegin+3].Failures = map[string]int64{"Unavailable": 1}
		}},
		{name: "16_many_are_late", claim: 16, scene: sidecars, want: report.Refuted, change: func(f *observe.Facts) {
			for _, w := range f.Clients["c1"].Windows {
				clear(w.Servers)
				w.Servers["s1"], w.Servers["s2"], w.Servers["s3"] = 13, 13, 13
			}
			for i := range f.Clients["c1"].Windows {
				f.Clients["c1"].Windows[i].Failures = map[string]int64{"DeadlineExceeded": 11}
			}
		}},
		{name: "16_no_call", claim: 16, scene: sidecars, want: report.Refuted, change: func(f *observe.Facts) { f.Clients["c2"].Windows = nil }},
		{name: "10_answers", claim: 10, scene: nodeProxies, want: report.Proven},
		{name: "10_a_node_does_not", claim: 10, scene: nodeProxies, want: report.Refuted, change: func(f *observe.Facts) {
			throughNodes(f).Reached[1].Summary = calllog.Summary{Failures: map[string]int64{"Unavailable": 5}}
		}},
		{name: "10_nobody_called", claim: 10, scene: nodeProxies, want: report.NotRun, change: func(f *observe.Facts) { throughNodes(f).Reached = nil }},
		{name: "11_own_node", claim: 11, scene: nodeProxies, want: report.Proven},
		{name: "11_another_node_took_one", claim: 11, scene: nodeProxies, want: report.Refuted, change: func(f *observe.Facts) {
			throughNodes(f).Through[0].Counted["n1"], throughNodes(f).Through[0].Counted["n2"] = 499, 1
		}},
		{name: "11_another_node_took_some_too", claim: 11, scene: nodeProxies, want: report.Refuted, change: func(f *observe.Facts) {
			throughNodes(f).Through[1].Counted["n1"] = 3
		}},
		{name: "11_node_without_a_proxy", claim: 11, scene: nodeProxies, want: report.Refuted, change: func(f *observe.Facts) {
			delete(throughNodes(f).Through[1].Counted, "n2")
		}},
		{name: "11_a_call_failed", claim: 11, scene: nodeProxies, want: report.Refuted, change: func(f *observe.Facts) {
			throughNodes(f).Through[1].Summary.Servers = map[string]int64{"s1": 499}
		}},
		{name: "11_single_node", claim: 11, scene: nodeProxies, want: report.NotRun, change: func(f *observe.Facts) { throughNodes(f).Through = throughNodes(f).Through[:1] }},
		{name: "12_spread_and_seen", claim: 12, scene: nodeProxies, want: report.Proven},
		{name: "12_not_seen", claim: 12, scene: nodeProxies, want: report.Refuted, change: func(f *observe.Facts) { delete(f.Clients["c1"].First, "s5") }},
		{name: "12_pinned", claim: 12, scene: nodeProxies, want: report.Refuted, change: func(f *observe.Facts) {
			for _, w := range f.Clients["c1"].Windows {
				clear(w.Servers)
				w.Servers["s1"] = 50
			}
		}},
		{name: "15_with_node_jobs", claim: 15, scene: nodeProxies, want: report.Proven},
		{name: "17_in_place", claim: 17, scene: nodeProxies, want: report.Proven},
		{name: "17_port_taken", claim: 17, scene: nodeProxies, want: report.Refuted, change: func(f *observe.Facts) {
			f.Preflight.Problems = []string{"port 4140 of node n1 is taken by pod x/y"}
		}},
		{name: "17_a_right_is_missing", claim: 17, scene: nodeProxies, want: report.Refuted, change: func(f *observe.Facts) { f.Preflight.Rights = 2 }},
		{name: "17_not_checked", claim: 17, scene: nodeProxies, want: report.NotRun, change: func(f *observe.Facts) { f.Preflight = nil }},

		{name: "31_spread", claim: 31, scene: standingProxies, want: report.Proven},
		{name: "31_pinned", claim: 31, scene: pinned, want: report.Refuted},
		{name: "31_uneven", claim: 31, scene: standingProxies, want: report.Refuted, change: func(f *observe.Facts) {
			for _, w := range f.Clients["c3"].Windows {
				clear(w.Servers)
				w.Servers["s1"], w.Servers["s2"], w.Servers["s3"] = 30, 15, 5
			}
		}},
		{name: "31_single_server", claim: 31, scene: standingProxies, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.Steady].Servers = []string{"s1"}
		}},
		{name: "32_seen", claim: 32, scene: standingProxies, want: report.Proven},
		{name: "32_too_late", claim: 32, scene: standingProxies, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].First["s5"], f.Phases[strategy.ScaleOut].End = at(addedReady+15.5), at(addedReady+16)
		}},
		{name: "33_undisturbed", claim: 33, scene: standingProxies, want: report.Proven},
		{name: "33_a_call_is_lost", claim: 33, scene: standingProxies, want: report.Refuted, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[30].Failures = map[string]int64{"Unavailable": 1}
		}},
		{name: "33_a_call_is_late", claim: 33, scene: standingProxies, want: report.Proven, change: func(f *observe.Facts) {
			f.Clients["c1"].Windows[30].Failures = map[string]int64{"DeadlineExceeded": 1}
		}},
		{name: "33_no_call", claim: 33, scene: standingProxies, want: report.NotRun, change: func(f *observe.Facts) {
			for _, c := range f.Clients {
				c.Windows = nil
			}
		}},
		{name: "34_stays", claim: 34, scene: standingProxies, want: report.Proven},
		{name: "34_rolled_out", claim: 34, scene: standingProxies, want: report.Refuted, change: func(f *observe.Facts) { rollout(f).NewReady = true }},
		{name: "34_an_old_one_went", claim: 34, scene: standingProxies, want: report.Refuted, change: func(f *observe.Facts) { rollout(f).After = rollout(f).After[:1] }},
		{name: "34_not_tried", claim: 34, scene: standingProxies, want: report.NotRun, change: func(f *observe.Facts) { f.Phases[strategy.BrokenConfiguration].Evidence = nil }},

		{name: "35_spread", claim: 35, scene: proxyless, want: report.Proven},
		{name: "36_seen", claim: 36, scene: proxyless, want: report.Proven},
		{name: "36_never", claim: 36, scene: trailing, want: report.Refuted},
		{name: "37_no_proxy", claim: 37, scene: proxyless, want: report.Proven},
		{name: "37_a_proxy", claim: 37, scene: proxyless, want: report.Refuted, change: func(f *observe.Facts) {
			listed(f).Processes["c2"] = append(listed(f).Processes["c2"], "envoy")
		}},
		{name: "37_out_of_reach", claim: 37, scene: proxyless, want: report.NotRun, change: func(f *observe.Facts) {
			listed(f).Unknown = observe.Reason{Kind: observe.OutOfReach, Text: "no cgroups"}
		}},
		{name: "37_not_listed", claim: 37, scene: proxyless, want: report.NotRun, change: func(f *observe.Facts) { f.Phases[strategy.Processes].Evidence = nil }},

		{name: "38_moves", claim: 38, scene: aged, want: report.Proven},
		{name: "38_reconnects_to_the_same", claim: 38, scene: pinned, want: report.Refuted, change: func(f *observe.Facts) {
			for i := range f.Clients["c1"].Windows {
				f.Clients["c1"].Windows[i].Opened = 1
			}
		}},
		{name: "38_goes_on_without_a_connection", claim: 38, scene: aged, want: report.Refuted, change: func(f *observe.Facts) {
			for _, c := range f.Clients {
				for i := range c.Windows {
					c.Windows[i].Opened = 0
				}
			}
		}},
		{name: "38_never_reconnects", claim: 38, scene: pinned, want: report.Refuted},
		{name: "38_single_server", claim: 38, scene: aged, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.Steady].Servers = []string{"s1"}
		}},
		{name: "39_seen", claim: 39, scene: aged, want: report.Proven},
		{name: "39_never", claim: 39, scene: aged, want: report.Refuted, change: func(f *observe.Facts) {
			for _, c := range f.Clients {
				for _, s := range added {
					delete(c.First, s)
				}
			}
		}},
		{name: "39_too_late", claim: 39, scene: aged, want: report.Refuted, change: func(f *observe.Facts) {
			f.Phases[strategy.ScaleOut].End = at(addedReady + 65)
			for _, c := range f.Clients {
				for _, s := range added {
					c.First[s] = at(addedReady + 60.5)
				}
			}
		}},
		{name: "39_one_is_seen_by_one", claim: 39, scene: aged, want: report.Proven, change: func(f *observe.Facts) {
			f.Phases[strategy.ScaleOut].End = at(addedReady + 65)
			for _, c := range f.Clients {
				for _, s := range added {
					delete(c.First, s)
				}
			}
			f.Clients["c2"].First["s5"] = at(addedReady + 59.5)
		}},
		{name: "39_no_age", claim: 39, scene: aged, want: report.NotRun, change: func(f *observe.Facts) { f.ConnectionAge = 0 }},
		{name: "40_seen", claim: 40, scene: agedNames, want: report.Proven},
		{name: "40_too_late", claim: 40, scene: agedNames, want: report.Refuted, change: func(f *observe.Facts) {
			f.Phases[strategy.ScaleOut].End = at(addedReady + 65)
			f.Clients["c1"].First["s5"] = at(addedReady + 60.5)
		}},
		{name: "40_none", claim: 40, scene: agedNames, want: report.Refuted, change: func(f *observe.Facts) {
			for _, c := range f.Clients {
				for _, s := range added {
					delete(c.First, s)
				}
			}
		}},
		{name: "40_one_is_missed", claim: 40, scene: agedNames, want: report.Refuted, change: func(f *observe.Facts) { delete(f.Clients["c1"].First, "s5") }},

		{name: "16_not_measured", claim: 16, scene: sidecars, want: report.NotRun, change: func(f *observe.Facts) {
			f.Phases[strategy.ControlPlaneAway].NotMeasured = observe.Reason{Text: "1 pods of istiod were there meanwhile"}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := test.scene()
			if test.change != nil {
				test.change(f)
			}
			got := claim(t, test.claim).Evaluate(f)
			if got.Status != test.want {
				t.Errorf("claim %d is %s (%s%s), want %s", test.claim, got.Status, got.Measured, got.Reason, test.want)
			}
			if (got.Status == report.NotRun) != (got.Reason.Text != "") || (got.Status == report.NotRun) == (got.Measured != "") {
				t.Errorf("claim %d is %s with reason %q and measurement %q, want the one that fits", test.claim, got.Status, got.Reason, got.Measured)
			}
			t.Log(got.Measured + got.Reason.Text)
		})
	}
}

// A claim that is not run for a reason keeps its text and limit.
func TestJudgeWithReason(t *testing.T) {
	got := claim(t, 4).Judge(trailing(), observe.Reason{Text: "Istio is not installed"})
	if got.Status != report.NotRun || got.Reason != "Istio is not installed" || got.Limit != "within 10 s (TTL and cache)" {
		t.Errorf("judged %+v, want not run with its reason and limit", got)
	}
}

// A claim about the files alone needs no cluster.
func TestJudgeStaticWithReason(t *testing.T) {
	if got := claim(t, 13).Judge(sidecars(), observe.Reason{Text: "Istio is not installed"}); got.Status != report.Proven {
		t.Errorf("judged %+v, want proven", got)
	}
}

// No claim panics on facts of a strategy that never started.
func TestClaimsOfNothing(t *testing.T) {
	for _, s := range strategy.All() {
		for _, c := range s.Claims {
			if got := c.Evaluate(newFacts(s.Name, "grpc-lb-"+s.Name)); got.Status != report.NotRun {
				t.Errorf("claim %d of nothing is %s, want %s", c.ID, got.Status, report.NotRun)
			}
		}
	}
	for _, a := range strategy.OnRequest() {
		for _, c := range a.Claims {
			f := newFacts(c.Strategies[0], "grpc-lb-"+c.Strategies[0])
			if got := c.Evaluate(f); got.Status != report.NotRun {
				t.Errorf("claim %d of nothing is %s, want %s", c.ID, got.Status, report.NotRun)
			}
			f.Phases[a.Name] = &observe.Phase{}
			if got := c.Evaluate(f); got.Status == report.Proven {
				t.Errorf("claim %d of an experiment that saw nothing is proven: %s", c.ID, got.Measured)
			}
		}
	}
}
