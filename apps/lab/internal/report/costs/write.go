package costs

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// column is one figure of a row, in words.
type column struct {
	head string
	cell func(Row) string
}

// Two tables are easier to read than one of fifteen columns.
var (
	price = append(append([]column{{"extra containers", Row.extra}}, figures()...), []column{
		{"client CPU of 1,000 calls (ms)", func(r Row) string { return r.part("client") }},
		{"server CPU (ms)", func(r Row) string { return r.part("server") }},
		{"proxy CPU (ms)", func(r Row) string { return r.part("proxy") }},
		{"added p50 (ms)", func(r Row) string { return r.AddedP50.text(2) }},
		{"added p99 (ms)", func(r Row) string { return r.AddedP99.text(1) }},
	}...)
	behaviour = []column{
		{"new pods called after", Row.newPods},
		{"failed calls: server leaves", func(r Row) string { return r.failed(Experiments[0]) }},
		{"rolling restart", func(r Row) string { return r.failed(Experiments[1]) }},
		{"kill -9", func(r Row) string { return r.failed(Experiments[2]) }},
		{"encrypted", Row.encrypted},
		{"the application changes", Row.change},
	}
)

func figures() (all []column) {
	for _, f := range report.Figures {
		all = append(all, column{f.Head, func(r Row) string { return r.figure(f.Name).text(f.Digits) }})
	}
	return all
}

func (r Row) part(name string) string {
	s, ok := r.CPU[name]
	if !ok || s.Max == 0 {
		return "–"
	}
	return s.text(0)
}

// Sheet is a table of cells. Words between backticks are code.
type Sheet struct {
	Head []string
	Rows [][]string
}

// Sheets returns what [Write] prints, for other renderings. A row that was not run has one
// cell beside its name.
func Sheets(t Table) (all []Sheet) {
	for _, columns := range [][]column{price, behaviour} {
		sheet := Sheet{Head: []string{"strategy"}}
		for _, c := range columns {
			sheet.Head = append(sheet.Head, c.head)
		}
		for _, r := range t.Rows {
			sheet.Rows = append(sheet.Rows, r.cells(r.Strategy, columns))
		}
		all = append(all, sheet)
	}
	return all
}

func (r Row) cells(name string, columns []column) []string {
	cells := []string{name}
	if r.NotRun != "" {
		return append(cells, "not run: "+r.NotRun)
	}
	for _, c := range columns {
		cells = append(cells, c.cell(r))
	}
	return cells
}

// layout fills a table with columns of the rows; name writes a row's name.
func layout(t Table, columns []column, name func(Row) string) table.Writer {
	out := table.NewWriter()
	head := table.Row{"strategy"}
	for _, c := range columns {
		head = append(head, c.head)
	}
	out.AppendHeader(head)
	for _, r := range t.Rows {
		var cells table.Row
		for _, cell := range r.cells(name(r), columns) {
			cells = append(cells, cell)
		}
		out.AppendRow(cells)
	}
	return out
}

// Write prints the tables for people.
func Write(w io.Writer, t Table) error {
	var b strings.Builder
	for _, columns := range [][]column{price, behaviour} {
		out := layout(t, columns, func(r Row) string { return r.Strategy })
		out.SetStyle(table.StyleLight)
		out.Style().Format.Header = text.FormatDefault
		var configs []table.ColumnConfig
		for i := range columns {
			configs = append(configs, table.ColumnConfig{Number: i + 2, WidthMax: 24, WidthMaxEnforcer: text.WrapSoft})
		}
		out.SetColumnConfigs(configs)
		b.WriteString(out.Render() + "\n")
	}
	b.WriteString(t.Legend())
	_, err := io.WriteString(w, b.String())
	return err
}

// Legend says how the figures came about, and names every stand-in.
func (t Table) Legend() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of %d runs (least–most), %.0f calls a second, one strategy after the other in each run; latencies over %s in the same run;\n"+
		"failed calls of up to %d (server leaves), %d (rolling restart) and %d (kill -9) at the overlays' own rate, in all runs. A late call missed its deadline of 1 s. %d CPUs, Linux %s.\n",
		t.Runs, t.Rate, Baseline, t.calls(Experiments[0]), t.calls(Experiments[1]), t.calls(Experiments[2]), t.Machine.CPUs, t.Machine.Kernel)
	for _, r := range t.Rows {
		if r.Missed != "" {
			fmt.Fprintf(&b, "%s was measured in %d of %d runs: %s.\n", r.Strategy, r.Runs, t.Runs, r.Missed)
		}
	}
	var notes []string
	for _, r := range t.Rows {
		if note := r.note(); note != "" && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	for _, note := range notes {
		var of []string
		for _, r := range t.Rows {
			if r.note() == note {
				of = append(of, r.Strategy)
			}
		}
		fmt.Fprintf(&b, "%s: %s.\n", strings.Join(of, ", "), note)
	}
	return b.String()
}

// Markdown returns the blocks of a document by name: results, costs and guide.
func Markdown(t Table) map[string]string {
	return map[string]string{"results": results(t), "costs": costs(t), "guide": guide(t)}
}

func costs(t Table) string {
	return layout(t, price, link).RenderMarkdown() + "\n\n" + layout(t, behaviour, link).RenderMarkdown() + "\n\n" + t.Legend()
}

func results(t Table) string {
	out := table.NewWriter()
	out.AppendHeader(table.Row{"strategy", "who balances", "calls per server, one client", fmt.Sprintf("idle of %d servers", t.servers()), "new pods called after", fmt.Sprintf("failed of %d calls while a server leaves", t.calls(Experiments[0]))})
	for _, r := range t.Rows {
		if r.overTLS() {
			continue
		}
		if r.NotRun != "" {
			out.AppendRow(table.Row{link(r), r.Balancer, "not run: " + r.NotRun})
			continue
		}
		shares := "–"
		if len(r.Shares) > 0 {
			var each []string
			for _, s := range r.Shares {
				each = append(each, fmt.Sprintf("%.0f", s))
			}
			shares = strings.Join(each, " / ") + " %"
		}
		idle := "–"
		if r.Idle != nil {
			idle = fmt.Sprint(r.Idle.Idle)
		}
		out.AppendRow(table.Row{link(r), r.Balancer, shares, idle, r.newPods(), r.failed(Experiments[0])})
	}
	return out.RenderMarkdown() + "\n"
}

// note says what is beside the overlay's own, or is "". What a variant with certificates
// follows is in its name.
func (r Row) note() string {
	if r.NotRun != "" {
		return ""
	}
	overlay, _ := strings.CutSuffix(r.Strategy, "-tls")
	return strings.TrimPrefix(strings.TrimPrefix(r.Note, "it follows "+overlay), "; ")
}

// overTLS says that the row is of a strategy's variant with certificates. It balances as the
// strategy does: only what it costs is worth reading.
func (r Row) overTLS() bool { return strings.HasSuffix(r.Strategy, "-tls") }

// link leads to the overlay's directory, which a variant of one has not.
func link(r Row) string {
	if strings.HasSuffix(r.Strategy, "-max-age") || r.overTLS() {
		return fmt.Sprintf("`%s`", r.Strategy)
	}
	return fmt.Sprintf("[`%[1]s`](/overlays/%[1]s)", r.Strategy) // from the repository's root, so that it works on every page
}

// Update puts blocks between their marks in a document, <!-- NAME --> and
// <!-- /NAME -->. A document has marks for some of the blocks. One that has a mark
// for none, or half of a pair, is an error.
func Update(document string, blocks map[string]string) (string, error) {
	found := false
	for _, name := range slices.Sorted(maps.Keys(blocks)) {
		begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
		from := strings.Index(document, begin)
		to := strings.Index(document, end)
		if from < 0 && to < 0 {
			continue
		}
		if from < 0 || to < from {
			return "", fmt.Errorf("costs: the document has one of the marks %s and %s, expected both in this order", strings.TrimSpace(begin), end)
		}
		found = true
		document = document[:from+len(begin)] + blocks[name] + document[to:]
	}
	if !found {
		return "", fmt.Errorf("costs: the document has no mark of a block: expected <!-- NAME --> and <!-- /NAME --> for one of %s", strings.Join(slices.Sorted(maps.Keys(blocks)), ", "))
	}
	return document, nil
}
