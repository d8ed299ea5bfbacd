package page

import (
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/percentile"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
)

// WriteCosts writes the page of a table of costs.
func WriteCosts(w io.Writer, t costs.Table) error {
	drawn, err := latenciesOf(t, nil)
	if err != nil {
		return err
	}
	return tmpl.ExecuteTemplate(w, "costs", costsPage{
		CSS: CSS(), Table: t, Took: t.Finished.Sub(t.Started).Round(time.Second).String(),
		Sheets: costs.Sheets(t), Legend: strings.ReplaceAll(t.Legend(), "\n", " "), Latencies: drawn,
		Facts: factsOf(t.Cluster, t.Machine, t.Versions),
	})
}

type costsPage struct {
	CSS       template.CSS
	Table     costs.Table
	Took      string
	Sheets    []costs.Sheet
	Legend    string
	Latencies latencies
	Facts     []fact
}

// latencies are how long calls took when one strategy at a time was called.
type latencies struct {
	Plots    []plot
	Baseline string // drawn behind the others; "" if it was not measured
	Rows     []latencyRow
}

type plot struct {
	Name    string
	Picture template.HTML
}

// latencyRow is in milliseconds; a dash is what was not measured.
type latencyRow struct {
	Name, Calls, P50, P90, P99, P999, Slowest string
}

const none = "–"

// latenciesOf draws the strategies of those names; nil is all. Each is drawn over the
// baseline.
func latenciesOf(t costs.Table, names []string) (l latencies, err error) {
	var curves []percentile.Curve
	var baseline percentile.Curve
	for _, r := range t.Rows {
		shown := names == nil || slices.Contains(names, r.Strategy)
		if r.NotRun != "" || !shown && r.Strategy != costs.Baseline {
			continue
		}
		calls, err := r.Calls()
		if err != nil {
			return l, fmt.Errorf("the latencies of %s: %w", r.Strategy, err)
		}
		l.Rows = append(l.Rows, latencyRowOf(r, calls))
		if calls == nil {
			continue
		}
		curves = append(curves, percentile.Curve{Name: r.Strategy, Calls: calls})
		if r.Strategy == costs.Baseline {
			baseline = curves[len(curves)-1]
		}
	}
	l.Baseline = baseline.Name
	scale := percentile.ScaleOf(curves...)
	for _, c := range curves {
		behind := baseline
		text := fmt.Sprintf("Latency of %s by percentile", c.Name)
		if c.Name == baseline.Name {
			behind = percentile.Curve{}
		} else if baseline.Calls != nil {
			text += ", with " + baseline.Name + " dashed"
		}
		picture, err := percentile.Inline(text+". The table below has the figures.", scale, c, behind)
		if err != nil {
			return l, err
		}
		l.Plots = append(l.Plots, plot{c.Name, picture})
	}
	return l, nil
}

func latencyRowOf(r costs.Row, calls *latency.Histogram) latencyRow {
	row := latencyRow{r.Strategy, none, none, none, none, none, none}
	if calls == nil { // a table of an earlier lab
		if r.P50 != nil && r.P99 != nil {
			row.P50, row.P99 = millis(r.P50.Median), millis(r.P99.Median)
		}
		return row
	}
	at := func(p float64) string {
		if !percentile.Tells(calls, p) {
			return none
		}
		return millis(float64(calls.At(p).Microseconds()) / 1000)
	}
	row.Calls, row.Slowest = fmt.Sprint(calls.Count()), millis(float64(calls.At(100).Microseconds())/1000)
	row.P50, row.P90, row.P99, row.P999 = at(50), at(90), at(99), at(99.9)
	return row
}

func millis(ms float64) string { return fmt.Sprintf("%.2f", ms) }

// factsOf are what the machine was and what ran on it.
func factsOf(cluster string, m report.Machine, versions map[string]string) []fact {
	facts := []fact{
		{"cluster", cluster},
		{"machine", fmt.Sprintf("%s/%s, %d CPUs, %.0f GiB", m.OS, m.Arch, m.CPUs, float64(m.MemoryBytes)/(1<<30))},
		{"kernel", m.Kernel},
	}
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		facts = append(facts, fact{name, versions[name]})
	}
	return facts
}
