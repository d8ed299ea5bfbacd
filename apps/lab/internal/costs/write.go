package costs

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// head and cells are the columns of the table, for people and for Markdown.
var head = table.Row{
	"strategy", "extra containers", "extra memory a pod (MiB)", "CPU per 1,000 calls (ms): client", "server", "proxy",
	"added p50 (ms)", "added p99 (ms)", "new pods called after", "failed: server leaves", "rolling restart", "kill -9",
	"connections a client", "encrypted", "the application changes",
}

func (r Row) cells() table.Row {
	part := func(name string) string {
		s, ok := r.CPU[name]
		if !ok || s.Max == 0 {
			return "–"
		}
		return s.text(0)
	}
	memory := "–"
	if r.MemoryMiB != nil && r.MemoryMiB.Max > 0 {
		memory = r.MemoryMiB.text(0)
	}
	cells := table.Row{
		r.Strategy, r.extra(), memory, part("client"), part("server"), part("proxy"),
		r.AddedP50.text(2), r.AddedP99.text(1), r.newPods(),
	}
	for _, e := range Experiments {
		cells = append(cells, r.failed(e))
	}
	return append(cells, r.Connections.text(1), r.encrypted(), r.change())
}

// Write prints the table for people.
func Write(w io.Writer, t Table) error {
	out := table.NewWriter()
	out.SetStyle(table.StyleLight)
	out.Style().Format.Header = text.FormatDefault
	out.AppendHeader(head)
	var configs []table.ColumnConfig
	for i := range head {
		configs = append(configs, table.ColumnConfig{Number: i + 1, WidthMax: 16, WidthMaxEnforcer: text.WrapSoft})
	}
	out.SetColumnConfigs(configs)
	for _, r := range t.Rows {
		if r.NotRun != "" {
			out.AppendRow(table.Row{r.Strategy, "not run: " + r.NotRun})
			continue
		}
		out.AppendRow(r.cells())
	}
	_, err := fmt.Fprintf(w, "%s\n%s", out.Render(), t.legend())
	if err != nil {
		return err
	}
	for _, r := range t.Rows {
		if r.Note != "" {
			if _, err := fmt.Fprintf(w, "%s: %s.\n", r.Strategy, r.Note); err != nil {
				return err
			}
		}
	}
	return nil
}

// legend says how the figures came about.
func (t Table) legend() string {
	return fmt.Sprintf("Medians of %d runs (least–most), %.0f calls a second, one strategy after the other in each run; latencies over %s in the same run;\n"+
		"failed calls of up to %d (server leaves), %d (rolling restart) and %d (kill -9) in all runs; %d CPUs, Linux %s.\n",
		t.Runs, t.Rate, Baseline, t.calls(Experiments[0]), t.calls(Experiments[1]), t.calls(Experiments[2]), t.Machine.CPUs, t.Machine.Kernel)
}

// Markdown returns the blocks of a document by name: results, costs and guide.
func Markdown(t Table) map[string]string {
	return map[string]string{"results": results(t), "costs": costs(t), "guide": guide(t)}
}

func costs(t Table) string {
	out := table.NewWriter()
	out.AppendHeader(head)
	for _, r := range t.Rows {
		if r.NotRun != "" {
			out.AppendRow(table.Row{link(r), "not run: " + r.NotRun})
			continue
		}
		cells := r.cells()
		cells[0] = link(r)
		out.AppendRow(cells)
	}
	return out.RenderMarkdown() + "\n\n" + t.legend()
}

func results(t Table) string {
	out := table.NewWriter()
	out.AppendHeader(table.Row{"strategy", "who balances", "calls per server, one client", "idle of 6 servers", "new pods called after", "failed calls when a server leaves"})
	for _, r := range t.Rows {
		if r.NotRun != "" {
			out.AppendRow(table.Row{link(r), r.Balancer, "not run: " + r.NotRun})
			continue
		}
		var shares []string
		for _, s := range r.Shares {
			shares = append(shares, fmt.Sprintf("%.0f", s))
		}
		idle := "–"
		if r.Idle != nil {
			idle = fmt.Sprint(r.Idle.Idle)
		}
		out.AppendRow(table.Row{link(r), r.Balancer, strings.Join(shares, " / ") + " %", idle, r.newPods(), r.failed(Experiments[0])})
	}
	return out.RenderMarkdown() + "\n"
}

// link leads to the overlay's directory, which a variant of one has not.
func link(r Row) string {
	if strings.HasSuffix(r.Strategy, "-max-age") {
		return fmt.Sprintf("`%s`", r.Strategy)
	}
	return fmt.Sprintf("[`%[1]s`](overlays/%[1]s)", r.Strategy)
}

// Update puts the blocks between their marks in a document:
// <!-- NAME --> and <!-- /NAME -->. A mark that is missing is an error.
func Update(document string, blocks map[string]string) (string, error) {
	for name, block := range blocks {
		begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
		from := strings.Index(document, begin)
		to := strings.Index(document, end)
		if from < 0 || to < from {
			return "", fmt.Errorf("costs: the document has no block %s…%s", strings.TrimSpace(begin), end)
		}
		document = document[:from+len(begin)] + block + document[to:]
	}
	return document, nil
}
