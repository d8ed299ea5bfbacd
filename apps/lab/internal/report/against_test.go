package report_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// What differs by no more than noise did not move, and everything else did.
func TestAgainst(t *testing.T) {
	result := func(jain, seconds float64, idle int, status report.Status) report.Result {
		return report.Result{
			Strategies: []report.Strategy{{Name: "dns", Status: report.Ran, Jain: &jain, Idle: &report.Idle{Idle: idle, Servers: 6}, NewPods: &report.NewPods{Called: 9, Pairs: 9, SlowestSeconds: seconds}}},
			Claims:     []report.Claim{{ID: 5, Strategy: "dns", Text: "round_robin is even", Status: status}},
		}
	}
	before := result(1, .8, 3, report.Proven)
	for _, tt := range []struct {
		name string
		now  report.Result
		want []string
	}{
		{"nothing", before, nil},
		{"noise", result(.96, 1.5, 3, report.Proven), nil},
		{"twice, and little", result(1, 1.7, 3, report.Proven), nil},
		{"a time", result(1, 3, 3, report.Proven), []string{"new pods called after: 0.80 s, 3.00 s"}},
		{"Jain's index", result(.9, .8, 3, report.Proven), []string{"Jain's index of the client with the least even calls: 1.000, 0.900"}},
		{"idle servers", result(1, .8, 0, report.Proven), []string{"idle servers after a scale-out: 3 of 6, 0 of 6"}},
		{"a claim", result(1, .8, 3, report.Refuted), []string{"claim 5: round_robin is even: proven, refuted"}},
		{"no longer run", report.Result{Strategies: []report.Strategy{{Name: "dns", Status: report.NotRun}}}, []string{"the strategy: ran, not run"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			moved, err := tt.now.Against(before)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range moved.Changes {
				got = append(got, c.What+": "+c.Before+", "+c.Now)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("moved (-want +got):\n%s", diff)
			}
			var markdown bytes.Buffer
			if err := report.Markdown(&markdown, tt.now, moved); err != nil {
				t.Fatal(err)
			}
			if said := strings.Contains(markdown.String(), "Nothing moved."); said != (tt.want == nil) {
				t.Errorf("Markdown says that nothing moved: %t\n%s", said, &markdown)
			}
		})
	}
	never := result(1, .8, 3, report.Proven)
	never.Strategies[0].NewPods = &report.NewPods{Pairs: 9, WatchedSeconds: 12}
	if moved, err := never.Against(before); err != nil || len(moved.Changes) != 1 {
		t.Errorf("new pods that are never called: %+v, %v; want one change", moved, err)
	}
	other := report.Result{Strategies: []report.Strategy{{Name: "l4"}}}
	if _, err := other.Against(before); err == nil || !strings.Contains(err.Error(), "no strategy in common: one has [l4], the other [dns]") {
		t.Errorf("other strategies: %v", err)
	}
}

// Text of others stays inside its cell.
func TestMarkdownEscapes(t *testing.T) {
	r := report.Result{Claims: []report.Claim{{ID: 1, Strategy: "l4", Status: report.Refuted, Text: "a|b", Measured: "<script>\nalert"}}}
	var b bytes.Buffer
	if err := report.Markdown(&b, r, nil); err != nil {
		t.Fatal(err)
	}
	if want := `| 1 | l4 | a\|b | refuted: &lt;script&gt; alert |`; !strings.Contains(b.String(), want) {
		t.Errorf("lacks %q:\n%s", want, &b)
	}
}
