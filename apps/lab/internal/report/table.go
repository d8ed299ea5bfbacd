package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// tableWidth is the most columns that a table takes, as far as names allow.
const tableWidth = 100

// Style decides how Table draws.
type Style struct {
	// Color is for terminals.
	Color bool
	// Verbose adds to each claim what was measured, its limit and its attempts.
	Verbose bool
}

// Table writes the strategies as a table, and below it the claims about each.
func Table(w io.Writer, r Result, style Style) error {
	n := &footnotes{}
	text := strategies(r, n, style) + "\n" + claimsByStrategy(r, n, style)
	_, err := io.WriteString(w, text+"\n"+n.String()+notes(r.Strategies))
	return err
}

// footnotes gives long reasons numbers.
type footnotes struct{ texts []string }

// of returns the number of a text.
func (n *footnotes) of(text string) int {
	i := slices.Index(n.texts, text)
	if i < 0 {
		i, n.texts = len(n.texts), append(n.texts, text)
	}
	return i + 1
}

func (n *footnotes) notRun(reason string) string {
	return fmt.Sprintf("%s (%d)", NotRun, n.of(reason))
}

func (n *footnotes) String() string {
	var b strings.Builder
	for i, t := range n.texts {
		b.WriteString(wrapped(fmt.Sprintf("(%d) %s: ", i+1, NotRun), t))
	}
	return b.String()
}

// wrapped is the text after its head, its further lines indented.
func wrapped(head, body string) string {
	const indent = 4
	lines := strings.ReplaceAll(text.WrapSoft(head+body, tableWidth-indent), "\n", "\n"+strings.Repeat(" ", indent))
	return trimmed(lines) + "\n"
}

// trimmed is text without spaces at the ends of its lines.
func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

// notes says what was beside the overlays, and what is known of those that had the
// machine to themselves.
func notes(rows []Strategy) string {
	var b strings.Builder
	for _, s := range rows {
		if s.FailedCalls != nil && s.P99Millis != nil {
			b.WriteString(wrapped("", fmt.Sprintf("%s, measured alone on the machine: %d failed calls, p99 %.1f ms in the steady state.", s.Name, *s.FailedCalls, *s.P99Millis)))
		}
	}
	of := map[string][]string{} // strategies by their note
	for _, s := range rows {
		of[s.Note] = append(of[s.Note], s.Name)
	}
	for _, s := range rows {
		if names := of[s.Note]; s.Note != "" && names[0] == s.Name {
			b.WriteString(wrapped("", strings.Join(names, ", ")+": "+s.Note+"."))
		}
	}
	return b.String()
}

func strategies(r Result, n *footnotes, style Style) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	header := table.Row{}
	for _, c := range Columns {
		header = append(header, c)
	}
	t.AppendHeader(header)
	for _, s := range r.Strategies {
		row := table.Row{style.paint(text.Bold, s.Name)}
		for _, cell := range Cells(r, s) {
			row = append(row, cell)
		}
		if s.Status != Ran {
			row[2] = style.paint(text.FgYellow, n.notRun(s.Reason))
		}
		t.AppendRow(row)
	}
	wrap := func(number, width int, align text.Align) table.ColumnConfig {
		return table.ColumnConfig{Number: number, WidthMax: width, WidthMaxEnforcer: wrapLines, Align: align, AlignHeader: align}
	}
	t.SetColumnConfigs([]table.ColumnConfig{
		wrap(1, 16, text.AlignLeft), wrap(2, 22, text.AlignLeft), wrap(3, 17, text.AlignLeft),
		wrap(4, 7, text.AlignRight), wrap(5, 14, text.AlignRight), wrap(6, 7, text.AlignRight),
	})
	return t.Render() + "\n"
}

// Columns are those of the table of strategies.
var Columns = []string{"strategy", "who balances", "calls per server, each client (%)", "idle servers", "new pods called after", "claims proven"}

// Cells are those of a strategy after its name.
func Cells(r Result, s Strategy) []string {
	claims := provenText(r.Claims, s.Name)
	if s.Status != Ran {
		return []string{s.Balancer, string(NotRun), "", "", claims}
	}
	return []string{s.Balancer, spreadText(s.Spread), idleText(s.Idle), newPodsText(s.NewPods), claims}
}

// wrapLines wraps each line of a cell, where text.WrapSoft would join them.
func wrapLines(cell string, width int) string {
	lines := strings.Split(cell, "\n")
	for i, l := range lines {
		lines[i] = text.WrapSoft(l, width)
	}
	return trimmed(strings.Join(lines, "\n"))
}

func provenText(claims []Claim, strategy string) string {
	proven, all := 0, 0
	for _, c := range claims {
		if c.Strategy == strategy {
			all++
			if c.Status == Proven {
				proven++
			}
		}
	}
	return fmt.Sprintf("%d of %d", proven, all)
}

// spreadText shows each client's shares, largest first. Clients with the same
// shares take one line.
func spreadText(clients []ClientSpread) string {
	times := map[string]int{}
	for _, c := range clients {
		var total int64
		for _, n := range c.Servers {
			total += n
		}
		counts := slices.Sorted(maps.Values(c.Servers))
		slices.Reverse(counts)
		shares := make([]string, len(counts))
		for i, n := range counts {
			shares[i] = strconv.FormatFloat(100*float64(n)/float64(max(total, 1)), 'f', 0, 64)
		}
		times[strings.Join(shares, "/")]++
	}
	var lines []string
	for _, shares := range slices.Sorted(maps.Keys(times)) {
		lines = append(lines, fmt.Sprintf("%d × %s", times[shares], shares))
	}
	return orDash(strings.Join(lines, "\n"))
}

func newPodsText(p *NewPods) string {
	switch {
	case p == nil:
		return "–"
	case p.Called == 0:
		return fmt.Sprintf("never in %.0f s", p.WatchedSeconds)
	case p.Called < p.Pairs:
		return fmt.Sprintf("%d of %d never in %.0f s", p.Pairs-p.Called, p.Pairs, p.WatchedSeconds)
	default:
		return fmt.Sprintf("%.2f s", p.SlowestSeconds)
	}
}

func idleText(i *Idle) string {
	if i == nil {
		return "–"
	}
	return fmt.Sprintf("%d of %d", i.Idle, i.Servers)
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func (s Style) paint(c text.Color, v string) string {
	if !s.Color {
		return v
	}
	return c.EscapeSeq() + v + text.Reset.EscapeSeq()
}
