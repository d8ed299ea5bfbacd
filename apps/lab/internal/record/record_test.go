package record_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/record"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
)

func result(second int) report.Result {
	return report.Result{Schema: report.Schema, Started: time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC), Strategies: []report.Strategy{{Name: "l4", Status: report.Ran}}}
}

// What was saved is read back, its report stands beside it, and the oldest go.
func TestSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs")
	if _, err := record.Newest(dir); !errors.Is(err, record.ErrNone) {
		t.Errorf("the newest of none: %v, want ErrNone", err)
	}
	for second := range 23 {
		saved, err := record.Save(dir, result(second))
		if err != nil {
			t.Fatal(err)
		}
		newest, err := record.Newest(dir)
		if err != nil || newest != saved.Result {
			t.Fatalf("the newest is %q, %v; want %q", newest, err, saved.Result)
		}
		got, err := record.Load(newest)
		if diff := cmp.Diff(result(second), got); err != nil || diff != "" {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
		if html, err := os.ReadFile(saved.Page); err != nil || !bytes.HasPrefix(html, []byte("<!DOCTYPE html>")) {
			t.Fatalf("the report: %v, %.80q", err, html)
		}
	}
	folders, err := os.ReadDir(dir)
	if err != nil || len(folders) != 20 || !strings.HasPrefix(folders[0].Name(), "2026-01-02T03-04-03") {
		t.Errorf("%d results are kept, the oldest %v; want 20, from the fourth on", len(folders), folders[0])
	}
}

// Costs are kept beside runs and are not taken for one. A run's report has the latencies of
// the newest costs that can be read, and of the committed ones if there are none.
func TestSaveCosts(t *testing.T) {
	dir := t.TempDir()
	committed, err := costs.Measured()
	if err != nil || len(committed.Rows) == 0 {
		t.Fatalf("the committed costs: %v, %d rows", err, len(committed.Rows))
	}
	latencies := func(want costs.Table) {
		t.Helper()
		if got, err := record.Latencies(dir); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("%v (-want +got):\n%s", err, cmp.Diff(want, got))
		}
	}
	latencies(committed)
	table := costs.Table{Schema: costs.Schema, Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Rows: []costs.Row{{Strategy: "l4", P50: &costs.Spread{Median: 7.25}, P99: &costs.Spread{Median: 8}}}}
	saved, err := record.SaveCosts(dir, table)
	if err != nil {
		t.Fatal(err)
	}
	latencies(table)
	if got, err := record.LoadCosts(saved.Result); err != nil || cmp.Diff(table, got) != "" {
		t.Errorf("%v (-want +got):\n%s", err, cmp.Diff(table, got))
	}
	if html, err := os.ReadFile(saved.Page); err != nil || !bytes.Contains(html, []byte("What each strategy costs")) {
		t.Errorf("the page of costs: %v, %.80q", err, html)
	}
	if _, err := record.Newest(dir); !errors.Is(err, record.ErrNone) {
		t.Errorf("the newest run, where only costs are kept: %v, want ErrNone", err)
	}
	run, err := record.Save(dir, result(6))
	if err != nil {
		t.Fatal(err)
	}
	if html, err := os.ReadFile(run.Page); err != nil || !bytes.Contains(html, []byte("7.25")) {
		t.Errorf("the run's report lacks the latencies of the costs: %v", err)
	}
	if err := os.WriteFile(saved.Result, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	latencies(committed)
}

// A file that is no result is refused with what it is.
func TestLoadRefuses(t *testing.T) {
	whole, err := json.Marshal(result(1))
	if err != nil {
		t.Fatal(err)
	}
	timeline := func(t report.Timeline) string {
		r := result(1)
		r.Strategies[0].Timeline = &t
		content, _ := json.Marshal(r)
		return string(content)
	}
	for _, tt := range []struct{ name, content, want string }{
		{"empty", " \n", "is empty"},
		{"cut short", string(whole[:len(whole)/2]), "is cut short after"},
		{"no JSON", "strategies: l4", "is no result of a run"},
		{"other JSON", `{"items": []}`, "has schema 0, expected 1"},
		{"nothing but a schema", `{"schema": 1}`, "it has no strategies"},
		{"costs of another version", `{"schema": 7, "rows": [{"strategy": "l4"}]}`, "has schema 7, expected 1 or none"},
		{"costs without rows", `{"rows": []}`, "it has no rows"},
		{"costs with a broken histogram", `{"rows": [{"strategy": "l4", "latency_hdr": "HISTFAAA"}]}`, `the calls of strategy "l4"`},
		{"costs with rows that are none", `{"rows": 7}`, "cannot unmarshal number"},
		{"a list", `[]`, "is no result of a run"},
		{"another version", strings.Replace(string(whole), `"schema":1`, `"schema":7`, 1), "has schema 7, expected 1"},
		{"a timeline with holes", timeline(report.Timeline{StepSeconds: 1, Bins: 2, Failed: report.Bins{1}, Closed: report.Bins{1, 2}}), "1 counts for one of its lanes"},
		{"an endless timeline", timeline(report.Timeline{StepSeconds: 1, Bins: 1 << 40}), "expected at most"},
		{"too large", strings.Repeat(" ", 65<<20), "more than 64 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "result.json")
			if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := record.Load(file); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("error %v, want one with %q and the file", err, tt.want)
			}
		})
	}
	for kind, other := range map[string]struct {
		content string
		load    func(string) error
	}{
		"a table of costs":    {`{"rows": [{"strategy": "l4"}]}`, func(file string) error { _, err := record.Load(file); return err }},
		"the result of a run": {string(whole), func(file string) error { _, err := record.LoadCosts(file); return err }},
	} {
		file := filepath.Join(t.TempDir(), "other.json")
		if err := os.WriteFile(file, []byte(other.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := other.load(file); err == nil || !strings.Contains(err.Error(), kind) {
			t.Errorf("the other kind of file: %v, want one that says it is %s", err, kind)
		}
	}
	if _, err := record.Load(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(fmt.Sprint(err), "no such file") {
		t.Errorf("a file that is not there: %v", err)
	}
}
