package strategy_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// The table's figures of three strategies that differ in what they can do.
func TestRow(t *testing.T) {
	for _, test := range []struct {
		name    string
		scene   func() *observe.Facts
		jain    float64
		idle    report.Idle
		newPods report.NewPods
	}{
		{
			name: "pinned", scene: pinned, jain: 1. / 3, idle: report.Idle{Idle: 3, Servers: 6},
			newPods: report.NewPods{Pairs: 9, WatchedSeconds: 13},
		},
		{
			name: "trailing", scene: trailing, jain: 1, idle: report.Idle{Idle: 3, Servers: 6},
			newPods: report.NewPods{Pairs: 9, WatchedSeconds: 13},
		},
		{
			name: "watching", scene: watching, jain: 1, idle: report.Idle{Idle: 0, Servers: 6},
			newPods: report.NewPods{Called: 9, Pairs: 9, SlowestSeconds: .2, WatchedSeconds: 13},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := test.scene()
			histogram := latency.New()
			histogram.Record(3 * time.Millisecond)
			encoded, err := histogram.Encode()
			if err != nil {
				t.Fatal(err)
			}
			f.Clients["c2"].Windows[5].LatencyHDR = encoded
			f.Clients["c1"].Windows[5].Failures = map[string]int64{"Unavailable": 2}
			f.Clients["c1"].Windows[0].Failures = map[string]int64{"Unavailable": 9} // before the steady state
			var got report.Strategy
			if err := strategy.Row(f, &got); err != nil {
				t.Fatal(err)
			}
			if *got.Jain < test.jain-1e-4 || *got.Jain > test.jain+1e-4 {
				t.Errorf("Jain's index is %v, want %v", *got.Jain, test.jain)
			}
			if diff := cmp.Diff(&test.idle, got.Idle); diff != "" {
				t.Errorf("idle servers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(&test.newPods, got.NewPods); diff != "" {
				t.Errorf("new pods (-want +got):\n%s", diff)
			}
			if *got.FailedCalls != 2 {
				t.Errorf("failed calls are %d, want 2: those of the experiments", *got.FailedCalls)
			}
			if *got.P99Millis < 2.9 || *got.P99Millis > 3.1 {
				t.Errorf("p99 is %v ms, want 3", *got.P99Millis)
			}
		})
	}
}

// A strategy that was not measured has no figures rather than zeros.
func TestRowOfNothing(t *testing.T) {
	var got report.Strategy
	if err := strategy.Row(newFacts("l4", "grpc-lb-l4"), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report.Strategy{}, got); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

// What the experiments assert about a strategy that does it and one that does not.
func TestFindings(t *testing.T) {
	failing := func() *observe.Facts {
		f := pinned()
		f.Clients["c1"].Windows[35].Failures = map[string]int64{"Unavailable": 3}
		return f
	}
	order := func(first string, then ...string) func() *observe.Facts {
		return func() *observe.Facts {
			f := scene("dns", func(_, s int) []string {
				if s < steadyEnd {
					return []string{first}
				}
				return then
			})
			f.Phases[strategy.StartOrder] = &observe.Phase{Begin: at(0), Change: at(1), End: at(20), Clients: clients, Servers: []string{"s1"}, Added: []string{"s2", "s3"}}
			return f
		}
	}
	// late is a client that a phase replaced while istiod was away from 2 to 10,
	// and that each server answered for the first time in its second.
	late := func(added []string, first ...float64) func() *observe.Facts {
		return func() *observe.Facts {
			f := proxyless()
			f.Phases[strategy.LateStart] = &observe.Phase{
				Begin: at(1), Change: at(2), Restored: at(10), End: at(20), Clients: clients[1:], Servers: originals, Added: added,
			}
			for _, name := range added[:min(1, len(added))] {
				c := &observe.Client{Started: at(3), First: map[string]time.Time{}}
				for i, second := range first {
					c.First[originals[i]] = at(second)
				}
				f.Clients[name] = c
			}
			return f
		}
	}
	warm := func(failures map[string]int64) func() *observe.Facts {
		return func() *observe.Facts {
			f := nodeProxies()
			f.Started = at(-4)
			f.Phases[strategy.WarmUp] = &observe.Phase{Begin: at(0), Change: at(0), End: at(6), Clients: clients, Servers: originals}
			f.Clients["c2"].Windows[1].Failures = failures
			f.Clients["c2"].Windows[7].Failures = map[string]int64{"Unavailable": 9} // after it
			return f
		}
	}
	const startsLate = "a client that starts while istiod is away gets answers once it is back: "
	for _, test := range []struct {
		name, experiment string
		scene            func() *observe.Facts
		want             []string
	}{
		{name: "starts_late", experiment: strategy.LateStart, scene: late([]string{"c9"}, 14, 12.5, 13), want: []string{
			"yes: " + startsLate + "c9 got its first answer 2.50 s after istiod was there again", "yes: no call fails: 0 of 1900 failed",
		}},
		{name: "starts_late_and_needs_no_istiod", experiment: strategy.LateStart, scene: late([]string{"c9"}, 14, 9), want: []string{
			"no: " + startsLate + "c9 got its first answer -1 s after istiod was there again", "yes: no call fails: 0 of 1900 failed",
		}},
		{name: "starts_late_and_is_never_answered", experiment: strategy.LateStart, scene: late([]string{"c9"}), want: []string{
			"no: " + startsLate + "c9 got no answer", "yes: no call fails: 0 of 1900 failed",
		}},
		{name: "starts_late_and_is_not_seen", experiment: strategy.LateStart, scene: late(nil), want: []string{
			"no: " + startsLate + "no new client was seen", "yes: no call fails: 0 of 1900 failed",
		}},
		{name: "starts_late_and_has_no_log", experiment: strategy.LateStart, scene: func() *observe.Facts {
			f := late([]string{"c9"})()
			delete(f.Clients, "c9")
			return f
		}, want: []string{"no: " + startsLate + "c9 got no answer", "yes: no call fails: 0 of 1900 failed"}},
		{name: "warm_from_the_first_call", experiment: strategy.WarmUp, scene: warm(nil), want: []string{
			"yes: the proxies answer from their first call on: 0 of the first 900 calls failed in 10 s, none of each client's last 60",
		}},
		{name: "cold_at_first", experiment: strategy.WarmUp, scene: warm(map[string]int64{"DeadlineExceeded": 3, "Unavailable": 2}), want: []string{
			"no: the proxies answer from their first call on: 5 of the first 900 calls failed in 10 s, none of each client's last 60",
		}},
		{name: "steady", experiment: strategy.Steady, scene: pinned, want: []string{"yes: no call fails: 0 of 1500 failed"}},
		{name: "scale_out_seen", experiment: strategy.ScaleOut, scene: watching, want: []string{
			"yes: every client calls every new pod: the slowest after 0.20 s (s4 first after 0.20 s, s5 first after 0.20 s, s6 first after 0.20 s)",
			"yes: no call fails: 0 of 2250 failed",
		}},
		{name: "scale_out_missed", experiment: strategy.ScaleOut, scene: trailing, want: []string{
			"no: every client calls every new pod: never in 13 s (s4 never in 13 s, s5 never in 13 s, s6 never in 13 s)",
			"yes: no call fails: 0 of 2250 failed",
		}},
		{name: "server_leaves", experiment: strategy.ServerLeaves, scene: failing, want: []string{
			"no: no call fails: 3 of 2550 failed",
			"no: every client calls the pod that replaced s1: never in 15 s",
		}},
		{name: "server_leaves_and_is_replaced", experiment: strategy.ServerLeaves, scene: watching, want: []string{
			"yes: no call fails: 0 of 2550 failed",
			"yes: every client calls the pod that replaced s1: the slowest after 0.20 s",
		}},
		{name: "start_order_stays", experiment: strategy.StartOrder, scene: order("s1", "s1"), want: []string{
			"yes: clients that start while one server is ready stay on it: 3 clients called 0 of 2 servers that became ready later, in 19 s",
		}},
		{name: "encrypted", experiment: strategy.ThroughSidecar, scene: sidecars, want: []string{
			"yes: the calls reach the servers' proxies encrypted: the proxies of 3 servers counted 19 TLS handshakes",
		}},
		{name: "plain_at_one_server", experiment: strategy.ThroughSidecar, scene: func() *observe.Facts {
			f := sidecars()
			proxied(f).Handshakes["s2"] = 0
			return f
		}, want: []string{
			"no: the calls reach the servers' proxies encrypted: the proxies of 3 servers counted 12 TLS handshakes, none at s2",
		}},
		{name: "start_order_spreads", experiment: strategy.StartOrder, scene: order("s1", "s1", "s2"), want: []string{
			"no: clients that start while one server is ready stay on it: 3 clients called 1 of 2 servers that became ready later, in 19 s",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, strategy.Findings(test.experiment, test.scene())); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
