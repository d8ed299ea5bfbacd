package costs_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
)

var update = flag.Bool("update", false, "write the goldens anew")

// sample has a row of every kind, from two runs.
func sample(t *testing.T) costs.Table {
	t.Helper()
	failed := func(name string, failed, late int64) func(*report.Strategy) {
		return func(s *report.Strategy) {
			s.Cost.Failed[name] = report.Failed{Failed: failed, Late: late, Calls: 1000}
		}
	}
	needs := func(code string, rights []string, args ...string) func(*report.Strategy) {
		return func(s *report.Strategy) { s.Cost.Change = report.Change{Args: args, Code: code, Rights: rights} }
	}
	istio := func(s *report.Strategy) {
		s.Cost.Proxies, s.Cost.Figures[report.Memory], s.Cost.Encrypted = report.Proxies{AppPods: 6, Beside: 6}, 48, true
		s.Cost.Turns[0].CPU["proxy"], s.Cost.Turns[1].CPU["proxy"] = 300, 500
	}
	envoy := func(s *report.Strategy) {
		s.Cost.Proxies, s.Cost.Figures[report.Memory] = report.Proxies{AppPods: 6, Pods: 2}, 10
	}
	xds := func(s *report.Strategy) {
		s.Cost.Proxies, s.Cost.Figures[report.Memory] = report.Proxies{AppPods: 7, Beside: 3}, 15
		s.Cost.NewPods.SlowestSeconds = 0 // the client heard before the lab did
	}
	pinned := func(s *report.Strategy) {
		s.Idle = &report.Idle{Idle: 3, Servers: 6}
		s.Spread[0].Servers = map[string]int64{"s1": 100, "s2": 0, "s3": 0}
		s.Cost.NewPods = &report.NewPods{Pairs: 9, WatchedSeconds: 13}
	}
	some := func(s *report.Strategy) { s.Cost.NewPods.Called = 6 }
	silent := func(s *report.Strategy) {
		s.Spread, s.Idle, s.Cost.NewPods, s.Cost.Failed = nil, nil, nil, nil
		delete(s.Cost.Figures, report.OtherNode)
	}
	rights := []string{"list, watch endpointslices"}
	one := run(
		measured("l4", 1.9996, pinned, failed("kill", 9, 0)),
		measured("l4-max-age", 2.25, some),
		measured("dns", 2, needs("", []string{}, "--target=dns:///x:1", "--policy=round_robin"), silent),
		measured(costs.Baseline, 2, needs("apps/k8sresolver", rights, "--target=k8s:///x:1"), failed("rolling-restart", 2, 2)),
		measured("k8s-api-tls", 2.5, func(s *report.Strategy) { s.Cost.Encrypted, s.Cost.Figures[report.Handshakes] = true, 3 }),
		unable("linkerd", "image x cannot be had: a | b"),
		measured("envoy", 3.5, envoy, needs("", []string{}, "--target=envoy:1"), failed("kill", 7, 3)),
		measured("istio", 2.5, istio),
		measured("xds", 2, xds, needs("google.golang.org/grpc/xds", []string{}, "--target=xds:///x:1")),
	)
	for i := range one.Strategies {
		if one.Strategies[i].Name == "istio" {
			one.Strategies[i].Note = "Istio with another Envoy"
		}
	}
	two := run(measured("envoy", 6, envoy, needs("", []string{}, "--target=envoy:1")), measured(costs.Baseline, 3, needs("apps/k8sresolver", rights, "--target=k8s:///x:1")),
		unable("istio", "1 of 3 are ready"))
	table, err := costs.Of([]report.Result{one, two})
	if err != nil {
		t.Fatal(err)
	}
	table.Command = "go run ./apps/lab costs --runs 2 -o json"
	return table
}

// golden compares with what was reviewed.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// The tables of a row of every kind, for people and for a document, are what was
// reviewed: `go generate ./apps/lab/...` writes them.
func TestTables(t *testing.T) {
	table := sample(t)
	var got bytes.Buffer
	if err := costs.Write(&got, table); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.golden", got.String())
	blocks := costs.Markdown(table)
	golden(t, "results.golden.md", blocks["results"])
	golden(t, "costs.golden.md", blocks["costs"])
	if len(blocks) != 3 || blocks["guide"] == "" {
		t.Errorf("%d blocks, want results, costs and guide", len(blocks))
	}
}

// Each cell says what was measured, and "–" of what was not.
func TestCells(t *testing.T) {
	failed := func(failed, late int64) func(*costs.Row) {
		return func(r *costs.Row) {
			r.Failed["server-leaves"] = report.Failed{Failed: failed, Late: late, Calls: 1000}
		}
	}
	newPods := func(called, pairs int, s *costs.Spread) func(*costs.Row) {
		return func(r *costs.Row) { r.Called, r.Pairs, r.NewPods = called, pairs, s }
	}
	for _, test := range []struct {
		name, column string
		change       func(*costs.Row)
		want         string
	}{
		{name: "containers_none", column: "extra containers", want: "none"},
		{name: "containers_beside", column: "extra containers", change: func(r *costs.Row) { r.Beside = 1 }, want: "1 a pod"},
		{name: "containers_beside_some", column: "extra containers", change: func(r *costs.Row) { r.Beside = 3. / 7 }, want: "0.43 a pod"},
		{name: "containers_both", column: "extra containers", change: func(r *costs.Row) { r.Beside, r.Pods = .5, 2 }, want: "0.5 a pod, 2 pods"},
		{name: "handshakes", column: "TLS handshakes a client, rolling restart", change: figure(report.Handshakes, once(3)), want: "3.0"},
		{name: "no_handshakes", column: "TLS handshakes a client, rolling restart", want: "–"},
		{name: "memory_none", column: "extra memory a pod (MiB)", want: "–"},
		{name: "memory_of_one_run", column: "extra memory a pod (MiB)", change: figure(report.Memory, once(47.6)), want: "48"},
		{name: "memory_of_several", column: "extra memory a pod (MiB)", change: func(r *costs.Row) {
			r.Figures[report.Memory] = costs.Spread{Min: 40, Median: 48, Max: 50}
		}, want: "48 (40–50)"},
		{name: "ends_that_print_the_same", column: "extra memory a pod (MiB)", change: func(r *costs.Row) {
			r.Figures[report.Memory] = costs.Spread{Min: 47.6, Median: 47.8, Max: 48.4}
		}, want: "48"},
		{name: "latency_added", column: "added p50 (ms)", want: "1.50"},
		{name: "latency_saved", column: "added p50 (ms)", change: func(r *costs.Row) { r.AddedP50 = once(-.25) }, want: "-0.25"},
		{name: "latency_of_nearly_nothing", column: "added p50 (ms)", change: func(r *costs.Row) {
			r.AddedP50 = &costs.Spread{Min: -.004, Median: -.001, Max: .006}
		}, want: "0.00 (0.00–0.01)"},
		{name: "latency_not_compared", column: "added p50 (ms)", change: func(r *costs.Row) { r.AddedP50 = nil }, want: "–"},
		{name: "new_pods_called", column: "new pods called after", want: "0.50 s"},
		{name: "new_pods_at_once", column: "new pods called after", change: newPods(9, 9, once(0)), want: "0.00 s"},
		{name: "new_pods_called_partly", column: "new pods called after", change: newPods(6, 9, once(3)), want: "67 % of them in 13 s"},
		{name: "new_pods_never", column: "new pods called after", change: newPods(0, 9, nil), want: "never in 13 s"},
		{name: "new_pods_not_watched", column: "new pods called after", change: newPods(0, 0, nil), want: "–"},
		{name: "failed_none", column: "failed calls: server leaves", want: "0"},
		{name: "failed", column: "failed calls: server leaves", change: failed(3, 0), want: "3"},
		{name: "failed_some_late", column: "failed calls: server leaves", change: failed(3, 2), want: "3 (2 late)"},
		{name: "failed_all_late", column: "failed calls: server leaves", change: failed(3, 3), want: "3 (late)"},
		{name: "failed_not_measured", column: "kill -9", want: "–"},
		{name: "encrypted", column: "encrypted", change: func(r *costs.Row) { r.Encrypted = true }, want: "yes"},
		{name: "not_encrypted", column: "encrypted", want: "no"},
		{name: "changes_nothing", column: "the application changes", want: "nothing"},
		{name: "changes_flags", column: "the application changes", change: func(r *costs.Row) {
			r.Change.Args = []string{"--target=dns:///x:1", "--policy=round_robin"}
		}, want: "`--target` `--policy`"},
		{name: "changes_all", column: "the application changes", change: func(r *costs.Row) {
			r.Change = report.Change{Args: []string{"--target=k8s:///x:1"}, Code: "x/y", Rights: []string{"list, watch z"}}
		}, want: "`--target`; imports `x/y`; a Role: list, watch z"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := row("envoy", 3.5)
			if test.change != nil {
				test.change(&r)
			}
			table := costs.Table{Rows: []costs.Row{r}}
			if got := cell(t, costs.Markdown(table)["costs"], test.column); got != test.want {
				t.Errorf("%s: %q, want %q", test.column, got, test.want)
			}
		})
	}
}

// cell reads the cell of the first row under a heading of Markdown tables.
func cell(t *testing.T, markdown, column string) string {
	t.Helper()
	cells := func(line string) []string {
		parts := strings.Split(strings.Trim(line, "|"), "|")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		return parts
	}
	lines := strings.Split(markdown, "\n")
	for i, line := range lines {
		for at, heading := range cells(line) {
			if heading == column && i+2 < len(lines) {
				return cells(lines[i+2])[at]
			}
		}
	}
	t.Fatalf("no table has a column %q:\n%s", column, markdown)
	return ""
}

// broken takes nothing.
type broken struct{}

var errBroken = errors.New("no room")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

// That nothing could be written is told.
func TestWriteFails(t *testing.T) {
	if err := costs.Write(broken{}, sample(t)); !errors.Is(err, errBroken) {
		t.Errorf("error %v, want %v", err, errBroken)
	}
}

// What lies between the marks of a block is replaced and nothing else, as often
// as is asked. A document without any mark is refused, and one with half of a pair.
func TestUpdate(t *testing.T) {
	blocks := map[string]string{"a": "new a\n", "b": "new b\n"}
	const both = "head\n<!-- a -->\nold\nlines\n<!-- /a -->\nbetween\n<!-- b -->\n<!-- /b -->\ntail"
	const done = "head\n<!-- a -->\nnew a\n<!-- /a -->\nbetween\n<!-- b -->\nnew b\n<!-- /b -->\ntail"
	for _, test := range []struct {
		name, document string
		want           string
		wantErr        string // a part, "" for none
	}{
		{name: "replaced", document: both, want: done},
		{name: "again", document: done, want: done},
		{name: "other_order", document: "<!-- b -->\n<!-- /b -->\n<!-- a -->\n<!-- /a -->\n", want: "<!-- b -->\nnew b\n<!-- /b -->\n<!-- a -->\nnew a\n<!-- /a -->\n"},
		{name: "other_marks_stay", document: "<!-- c -->\nc\n<!-- /c -->\n" + both, want: "<!-- c -->\nc\n<!-- /c -->\n" + done},
		{name: "no_marks", document: "head\n", wantErr: "one of a, b"},
		{name: "one_block", document: "<!-- a -->\n<!-- /a -->\n", want: "<!-- a -->\nnew a\n<!-- /a -->\n"},
		{name: "no_end", document: "<!-- a -->\n<!-- b -->\n<!-- /b -->\n", wantErr: "<!-- /a -->"},
		{name: "end_before_begin", document: "<!-- /a -->\n<!-- a -->\n<!-- b -->\n<!-- /b -->\n", wantErr: "<!-- a -->"},
		{name: "text_after_the_mark", document: strings.Replace(both, "<!-- a -->", "<!-- a --> x", 1), wantErr: "<!-- a -->"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := costs.Update(test.document, blocks)
			if (err == nil) != (test.wantErr == "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
				t.Fatalf("error %v, want %q", err, test.wantErr)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("document (-want +got):\n%s", diff)
			}
		})
	}
}
