package costs_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
)

// answers returns, by situation, the strategies that the guide names, in order.
func answers(t *testing.T, table costs.Table) map[string][]string {
	t.Helper()
	guide := costs.Markdown(table)["guide"]
	all := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^\*\*(.+?)\.\*\* (.*)$`).FindAllStringSubmatch(guide, -1) {
		all[m[1]] = nil
		for _, s := range regexp.MustCompile("`([\\w-]+)`: ").FindAllStringSubmatch(m[2], -1) {
			all[m[1]] = append(all[m[1]], s[1])
		}
		if strings.Contains(m[2], "..") || strings.Contains(m[2], "%!") || (all[m[1]] == nil) != strings.HasPrefix(m[2], "No strategy") {
			t.Errorf("%s: %q is no sentence", m[1], m[2])
		}
	}
	if !strings.Contains(guide, "Limits to know") {
		t.Errorf("the guide has no limits:\n%s", guide)
	}
	return all
}

// Each situation is answered with the rows whose figures fit, best first, and
// with a sentence where none does. What was not run is never an answer.
func TestGuide(t *testing.T) {
	const (
		code    = "I cannot change the client's code"
		soon    = "New pods must be called within a second"
		zones   = "I pay for calls between zones"
		streams = "My streams live long"
		many    = "I have thousands of clients"
	)
	called := func(called int, after float64) func(*costs.Row) {
		return func(r *costs.Row) {
			r.Called, r.NewPods = called, once(after)
			if called == 0 {
				r.NewPods = nil
			}
		}
	}
	added := func(millis *costs.Spread) func(*costs.Row) { return func(r *costs.Row) { r.AddedP50 = millis } }
	imports := func(r *costs.Row) { r.Change.Code = "x/y" }
	reads := func(r *costs.Row) { r.Change.Rights = []string{"list endpoints"} }
	other := func(share *costs.Spread) func(*costs.Row) { return figure(report.OtherNode, share) }
	holds := func(n *costs.Spread) func(*costs.Row) { return figure(report.Connections, n) }
	unrun := func(r *costs.Row) { r.NotRun = "no image" }
	for _, test := range []struct {
		name, situation string
		rows            []costs.Row
		want            []string
	}{
		{
			name: "code_by_added_latency", situation: code, want: []string{"istio", "envoy", "linkerd"},
			rows: []costs.Row{row("linkerd", 9), row("envoy", 3.5), row("istio", 2.5)},
		},
		{name: "code_is_changed", situation: code, rows: []costs.Row{row("xds", 2, imports), row("k8s-api", 2, reads), row("envoy", 3.5)}, want: []string{"envoy"}},
		{name: "code_without_a_balance", situation: code, rows: []costs.Row{row("l4", 2, called(0, 0)), row("dns", 2, called(8, 1)), row("envoy", 3.5)}, want: []string{"envoy"}},
		{
			name: "code_not_compared_comes_last", situation: code, want: []string{"istio", "linkerd", "dns", "envoy"},
			rows: []costs.Row{row("envoy", 3, added(nil)), row("linkerd", 9), row("dns", 2, added(nil)), row("istio", 2.5)},
		},
		{name: "code_of_none", situation: code, rows: []costs.Row{row("xds", 2, imports)}},
		{
			name: "soon", situation: soon, want: []string{"istio", "k8s-api", "xds"},
			rows: []costs.Row{row("k8s-api", 2, called(9, .3)), row("xds", 2, called(9, 1)), row("istio", 2.5, called(9, .2))},
		},
		{
			name: "soon_is_too_late", situation: soon, want: []string{"istio"},
			rows: []costs.Row{row("envoy", 3.5, called(9, 1.01)), row("dns", 2, called(8, .2)), row("l4", 2, called(0, 0)), row("istio", 2.5)},
		},
		{name: "soon_of_none", situation: soon, rows: []costs.Row{row("l4", 2, called(0, 0))}},
		{
			name: "zones_by_share", situation: zones, want: []string{"l4", "envoy"},
			rows: []costs.Row{row("envoy", 3.5, other(once(.6))), row("l4", 2, other(once(.4))), row("dns", 2, other(nil))},
		},
		{name: "zones_of_none", situation: zones, rows: []costs.Row{row("dns", 2, other(nil))}},
		{
			name: "streams_that_end", situation: streams, want: []string{"dns-max-age", "l4-max-age"},
			rows: []costs.Row{row("l4-max-age", 2), row("l4", 2), row("dns-max-age", 2)},
		},
		{name: "streams_of_none", situation: streams, rows: []costs.Row{row("l4", 2), row("istio", 2.5)}},
		{
			name: "many_by_connections", situation: many, want: []string{"envoy", "k8s-api"},
			rows: []costs.Row{row("k8s-api", 2, holds(once(3))), row("envoy", 3.5, holds(once(1))), row("dns", 2, holds(nil))},
		},
		{name: "many_of_none", situation: many, rows: []costs.Row{row("dns", 2, holds(nil))}},
		{
			name: "ties_keep_the_order_of_the_table", situation: many, want: []string{"xds", "dns", "k8s-api"},
			rows: []costs.Row{row("xds", 2), row("dns", 2), row("k8s-api", 2)},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			rows := append([]costs.Row{row("a-max-age", 1, unrun), row("a-tls", 1)}, test.rows...) // would be best everywhere
			got := answers(t, costs.Table{Rows: rows})
			if len(got) != 5 {
				t.Errorf("%d situations, want 5", len(got))
			}
			named, known := got[test.situation]
			if !known {
				t.Fatalf("the guide has no situation %q", test.situation)
			}
			if diff := cmp.Diff(test.want, named); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		})
	}
}

// Every answer proves itself by the row's own figures.
func TestGuideProves(t *testing.T) {
	guide := costs.Markdown(sample(t))["guide"]
	for _, want := range []string{
		"`envoy`: changes `--target`, adds 2.25 (1.50–3.00) ms at p50, new pods after 0.50 s",
		"`k8s-api`: new pods after 0.50 s",
		"`istio`: 50 % of the calls are answered on another node",
		"`l4-max-age`: new pods: 67 % of them in 13 s, – calls failed while servers restarted",
		"`envoy`: 3.0 connections a client with 3 servers",
	} {
		if !strings.Contains(guide, want) {
			t.Errorf("the guide lacks %q:\n%s", want, guide)
		}
	}
}
