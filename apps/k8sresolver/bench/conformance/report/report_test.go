package report_test

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/report"
)

var update = flag.Bool("update", false, "write the README's tables")

const (
	results = "../results.json"
	readme  = "../README.md"
)

// Tests that the README shows what the last comparison has measured.
func TestReadme(t *testing.T) {
	r, err := report.Read(results)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	want := string(got)
	for name, table := range map[string]string{"summary": r.Summary(), "cases": r.Details()} {
		if want, err = report.Replace(want, name, table); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := os.WriteFile(readme, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("README.md is not what results.json gives; go test -update writes it (-want +got):\n%s", diff)
	}
}

// Tests that the last comparison has run the cases that there are.
func TestResults_Current(t *testing.T) {
	r, err := report.Read(results)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, c := range conformance.Cases() {
		want = append(want, c.String())
	}
	for _, c := range r.Cases {
		got = append(got, c.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results.json has other cases than the suite; go -C apps/k8sresolver/bench/peers run . writes it (-want +got):\n%s", diff)
	}
}

// Tests the tables of a small report.
func TestReport_Tables(t *testing.T) {
	r := report.Report{
		Machine:  "2 cores",
		Subjects: []report.Subject{{Name: "mine", Version: "v1"}, {Name: "other", Version: "v2"}, {Name: "absent", NotRun: "it is not there"}},
		Figures:  []report.Figure{{Name: "delay", Unit: "ms", Values: map[string]report.Value{"mine": {Number: 0.125}, "other": {Note: "> 5000"}}}, {Name: "size", Values: map[string]report.Value{"mine": {Number: 0}}}},
		Cases: []report.Case{
			{Name: "scripted/a", Results: map[string]string{"mine": report.Passed, "other": "failed: x"}},
			{Name: "real/b", Results: map[string]string{"mine": report.Passed, "other": "not run: y"}},
		},
	}
	if diff := cmp.Diff(`|  | mine v1 | other v2 |
| --- | --- | --- |
| cases passed | 2 of 2 | 0 of 1 |
| delay, ms | 0.12 | > 5000 |
| size | 0 | - |

absent: not run: it is not there

Measured on 2 cores.
`, r.Summary()); diff != "" {
		t.Errorf("Summary() (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(`| what goes wrong | mine | other |
| --- | --- | --- |
| scripted/a | ok | **fails** |
| real/b | ok | - |
`, r.Details()); diff != "" {
		t.Errorf("Details() (-want +got):\n%s", diff)
	}
}

// Tests that a part of a comparison that ran again replaces what is older, and nothing
// else; what is in neither is dropped.
func TestReport_Keep(t *testing.T) {
	old := report.Report{
		Figures: []report.Figure{{Name: "delay", Values: map[string]report.Value{"mine": {Number: 1}, "other": {Number: 2}}}},
		Cases: []report.Case{
			{Name: "a", Results: map[string]string{"mine": "failed: x", "other": report.Passed}},
			{Name: "gone", Results: map[string]string{"mine": report.Passed}},
		},
	}
	r := report.Report{
		Figures: []report.Figure{{Name: "delay", Values: map[string]report.Value{"mine": {Number: 3}}}, {Name: "unmeasured"}},
		Cases:   []report.Case{{Name: "a", Results: map[string]string{"mine": report.Passed}}, {Name: "new"}, {Name: "b", Results: map[string]string{"mine": report.Passed}}},
	}
	r.Keep(old)
	want := report.Report{
		Figures: []report.Figure{{Name: "delay", Values: map[string]report.Value{"mine": {Number: 3}, "other": {Number: 2}}}},
		Cases: []report.Case{
			{Name: "a", Results: map[string]string{"mine": report.Passed, "other": report.Passed}},
			{Name: "b", Results: map[string]string{"mine": report.Passed}},
		},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("Keep() (-want +got):\n%s", diff)
	}
}

// Tests that results of another machine or another version do not get into one table.
func TestReport_Comparable(t *testing.T) {
	r := report.Report{Machine: "2 cores", Subjects: []report.Subject{{Name: "mine", Version: "v1"}}}
	for _, test := range []struct {
		name string
		old  report.Report
		ok   bool
	}{
		{"same", r, true},
		{"without_a_subject", report.Report{Machine: "2 cores"}, true},
		{"another_machine", report.Report{Machine: "4 cores", Subjects: r.Subjects}, false},
		{"another_version", report.Report{Machine: "2 cores", Subjects: []report.Subject{{Name: "mine", Version: "v2"}}}, false},
	} {
		if err := r.Comparable(test.old); (err == nil) != test.ok {
			t.Errorf("%s: Comparable() = %v, want an error: %t", test.name, err, !test.ok)
		}
	}
}

// Tests that a text is cut between characters.
func TestCut(t *testing.T) {
	for most, want := range map[int]string{2: "a…", 3: "aä…", 4: "aäb"} {
		if got := report.Cut("aäb", most); got != want {
			t.Errorf("Cut(%d) = %q, want %q", most, got, want)
		}
	}
}

// Tests that a README without the block is refused.
func TestReplace(t *testing.T) {
	got, err := report.Replace("a\n<!-- x -->\nold\n<!-- /x -->\nb\n", "x", "new\n")
	if want := "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n"; got != want || err != nil {
		t.Errorf("Replace() = %q, %v, want %q", got, err, want)
	}
	for _, text := range []string{"", "<!-- x -->\n", "<!-- /x -->"} {
		if _, err := report.Replace(text, "x", ""); err == nil {
			t.Errorf("Replace(%q) error = nil, want one", text)
		}
	}
}
