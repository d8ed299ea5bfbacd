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
		{"other JSON", `{"rows": []}`, "has schema 0, expected 1"},
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
	if _, err := record.Load(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(fmt.Sprint(err), "no such file") {
		t.Errorf("a file that is not there: %v", err)
	}
}
