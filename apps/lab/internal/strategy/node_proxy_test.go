package strategy_test

import (
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// A node whose port does not answer, or that has no proxy, refutes whenever that
// is found: clients whose calls fail keep all later experiments from a steady
// state. Nothing is proven before the proxies are warm, and what a node did
// last counts.
func TestNodesReached(t *testing.T) {
	answered := calllog.Summary{Servers: map[string]int64{"s1": 3, "s2": 2}}
	refused := calllog.Summary{Failures: map[string]int64{"Unavailable": 5}}
	const failure = "Unavailable: connection refused"
	notSteady := func(f *observe.Facts, nodes ...strategy.Reach) {
		f.Phases[strategy.ThroughNodes] = &observe.Phase{NotMeasured: observe.Reason{Text: "no steady state"}, Evidence: &strategy.ThroughProxies{Reached: nodes}}
	}
	for _, test := range []struct {
		name           string
		change         func(*observe.Facts)
		want10, want11 report.Status
		text10, text11 string // in what was measured, or in the reason
	}{
		{
			name: "all_answer", change: func(*observe.Facts) {},
			want10: report.Proven, text10: "2 nodes answered 5 calls each",
			want11: report.Proven, text11: "on each of 2 nodes",
		},
		{
			name: "no_proxy", change: func(f *observe.Facts) {
				throughNodes(f).Reached[1] = strategy.Reach{Node: "n2", Summary: refused, NoProxy: true, Failure: failure}
				throughNodes(f).Through = throughNodes(f).Through[:1]
			},
			want10: report.Refuted, text10: "0 of 5 calls to n2 were answered, no proxy runs there, failures map[Unavailable:5], the last " + failure,
			want11: report.Refuted, text11: "no proxy runs on n2",
		},
		{
			name: "no_proxy_but_another_answers", change: func(f *observe.Facts) {
				throughNodes(f).Reached[0].NoProxy = true
			},
			want10: report.Refuted, text10: "5 of 5 calls to n1 were answered, no proxy runs there",
			want11: report.Refuted, text11: "no proxy runs on n1",
		},
		{
			name: "never_warm_without_a_proxy", change: func(f *observe.Facts) {
				notSteady(f, strategy.Reach{Node: "n1", Summary: answered}, strategy.Reach{Node: "n2", Summary: refused, NoProxy: true})
			},
			want10: report.Refuted, text10: "0 of 5 calls to n2",
			want11: report.Refuted, text11: "no proxy runs on n2",
		},
		{
			name: "never_warm_with_proxies", change: func(f *observe.Facts) {
				notSteady(f, strategy.Reach{Node: "n1", Summary: refused, Failure: failure}, strategy.Reach{Node: "n2", Summary: refused})
			},
			want10: report.Refuted, text10: "0 of 5 calls to n1 were answered, failures map[Unavailable:5], the last " + failure,
			want11: report.NotRun, text11: "no steady state",
		},
		{
			name: "never_warm_though_all_answer", change: func(f *observe.Facts) {
				notSteady(f, strategy.Reach{Node: "n1", Summary: answered}, strategy.Reach{Node: "n2", Summary: answered})
			},
			want10: report.NotRun, text10: "no steady state",
			want11: report.NotRun, text11: "no steady state",
		},
		{
			name: "warm_late", change: func(f *observe.Facts) {
				throughNodes(f).Reached = append([]strategy.Reach{{Node: "n1", Summary: refused, NoProxy: true}}, throughNodes(f).Reached...)
			},
			want10: report.Proven, text10: "2 nodes",
			want11: report.Proven, text11: "on each of 2 nodes",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			for id, want := range map[int]struct {
				status report.Status
				text   string
			}{10: {test.want10, test.text10}, 11: {test.want11, test.text11}} {
				f := nodeProxies()
				test.change(f)
				if got := claim(t, id).Judge(f, observe.Reason{}); got.Status != want.status || !strings.Contains(got.Measured+got.Reason, want.text) {
					t.Errorf("claim %d is %s: %s%s, want %s with %q", id, got.Status, got.Measured, got.Reason, want.status, want.text)
				}
			}
		})
	}
}

// The proxies are warm once each client has had enough answers in a row, however
// many of its earlier calls failed and however long that takes.
func TestCold(t *testing.T) {
	answered := func(n int64) calllog.Window { return calllog.Window{Servers: map[string]int64{"s1": n}} }
	failed := calllog.Window{Servers: map[string]int64{"s1": 19}, Failures: map[string]int64{"Unavailable": 1}}
	const most = strategy.WarmCalls - 1
	for _, test := range []struct {
		name    string
		clients map[string][]calllog.Window
		ended   string // a client
		want    string // or "" where they are warm
	}{
		{name: "warm", clients: map[string][]calllog.Window{"c1": {answered(most), answered(1)}, "c2": {answered(most + 1)}}},
		{name: "warm_at_last", clients: map[string][]calllog.Window{"c1": {failed, failed, answered(20), failed, answered(most), answered(0), answered(1)}, "c2": {answered(most + 1)}}},
		{name: "no_window", clients: map[string][]calllog.Window{"c1": nil, "c2": {answered(most + 1)}}, want: "the last 0 calls of c1 were answered, want 60"},
		{name: "too_few", clients: map[string][]calllog.Window{"c1": {answered(most + 1)}, "c2": {answered(most)}}, want: "the last 59 calls of c2 were answered, want 60"},
		{name: "too_few_in_a_row", clients: map[string][]calllog.Window{"c1": {answered(most + 1), failed, answered(most)}, "c2": {answered(most + 1)}}, want: "the last 59 calls of c1 were answered, want 60, the ones before failed: Unavailable"},
		{name: "fails_still", clients: map[string][]calllog.Window{"c1": {answered(most + 1)}, "c2": {answered(most + 1), failed}}, want: "the last 0 calls of c2 were answered, want 60, the ones before failed: Unavailable"},
		{name: "one_client_lacks", clients: map[string][]calllog.Window{"c1": {answered(most + 1)}}, want: "1 of 2 clients run"},
		{name: "one_client_ended", clients: map[string][]calllog.Window{"c1": {answered(most + 1)}, "c2": {answered(most + 1)}}, ended: "c2", want: "1 of 2 clients run"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &observe.Facts{Clients: map[string]*observe.Client{}}
			for name, windows := range test.clients {
				f.Clients[name] = &observe.Client{Windows: windows, Ended: name == test.ended}
			}
			if got := strategy.Cold(f, 2); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
