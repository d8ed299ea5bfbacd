package report_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// What is measured again replaces what came before, which its claims keep in
// words; everything else stays, and the table shows both.
func TestAgain(t *testing.T) {
	first := report.Result{
		Strategies: []report.Strategy{{Name: "l4", Status: report.Ran}, {Name: "istio", Status: report.Ran, Note: "with an Envoy"}},
		Claims: []report.Claim{
			{ID: 2, Strategy: "l4", Status: report.Proven, Measured: "one server"},
			{ID: 14, Strategy: "istio", Status: report.Refuted, Measured: "Jain 0.9"},
			{ID: 15, Strategy: "istio", Status: report.NotRun, Reason: "no log"},
			{ID: 16, Strategy: "istio", Status: report.Proven, Measured: "none lost"},
		},
		Experiments: []report.Experiment{{Name: "steady", Strategy: "istio"}},
	}
	next := report.Result{
		Strategies: []report.Strategy{{Name: "istio", Status: report.Ran, Balancer: "sidecar"}},
		Claims: []report.Claim{
			{ID: 14, Strategy: "istio", Status: report.Proven, Measured: "Jain 0.99"},
			{ID: 15, Strategy: "istio", Status: report.Proven, Measured: "all"},
			{ID: 16, Strategy: "istio", Status: report.Proven, Measured: "none late"},
		},
		Experiments: []report.Experiment{{Name: "steady", Strategy: "istio", Status: report.Measured}},
	}
	got := first.Again(next)
	want := report.Result{
		Strategies: []report.Strategy{{Name: "l4", Status: report.Ran}, {Name: "istio", Status: report.Ran, Note: "with an Envoy", Balancer: "sidecar"}},
		Claims: []report.Claim{
			{ID: 2, Strategy: "l4", Status: report.Proven, Measured: "one server"},
			{ID: 14, Strategy: "istio", Status: report.Proven, Measured: "Jain 0.99", Before: []report.Attempt{{Status: report.Refuted, Outcome: "Jain 0.9"}}},
			{ID: 15, Strategy: "istio", Status: report.Proven, Measured: "all", Before: []report.Attempt{{Status: report.NotRun, Outcome: "no log"}}},
			{ID: 16, Strategy: "istio", Status: report.Proven, Measured: "none late", Before: []report.Attempt{{Status: report.Proven, Outcome: "none lost"}}},
		},
		Experiments: []report.Experiment{{Name: "steady", Strategy: "istio"}, {Name: "steady", Strategy: "istio", Status: report.Measured}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if first.Claims[1].Status != report.Refuted {
		t.Error("the first result was changed")
	}
	var table bytes.Buffer
	if err := report.Table(&table, got, report.Style{Verbose: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "\n       attempt 1: refuted: Jain 0.9\n") {
		t.Errorf("the table does not show the first attempt:\n%s", &table)
	}
	if !strings.Contains(table.String(), "\n       attempt 1: not run: no log\n") {
		t.Errorf("the table does not show the attempt that was not run:\n%s", &table)
	}
	if strings.Contains(table.String(), "attempt 1: proven") {
		t.Errorf("the table shows an attempt that was proven:\n%s", &table)
	}
	if again := got.Again(next).Claims[1].Before; len(again) != 2 {
		t.Errorf("after two more attempts %v came before, want 2", again)
	}
}

// What was measured in two groups is one result, in the order of the table.
func TestAnd(t *testing.T) {
	result := func(names ...string) (r report.Result) {
		r.Versions = map[string]string{names[0]: "v1"}
		for _, n := range names {
			r.Strategies = append(r.Strategies, report.Strategy{Name: n})
			r.Claims = append(r.Claims, report.Claim{ID: 15, Strategy: n})
			r.Experiments = append(r.Experiments, report.Experiment{Strategy: n})
		}
		return r
	}
	order := []string{"l4", "istio", "own"}
	want := result(order...)
	want.Versions = map[string]string{"l4": "v1", "istio": "v1"}
	if diff := cmp.Diff(want, result("l4", "own").And(result("istio"), order)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}
