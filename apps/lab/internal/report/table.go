package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Style decides how Table draws.
type Style struct {
	// Color is for terminals.
	Color bool
}

// Table writes the strategies as a table and the claims below it.
func Table(w io.Writer, r Result, style Style) error {
	_, err := io.WriteString(w, strategies(r.Strategies, style)+"\n"+notes(r.Strategies)+"\n"+Claims(r.Claims, style))
	return err
}

// notes says what was beside the overlays.
func notes(rows []Strategy) string {
	var b strings.Builder
	for _, s := range rows {
		if s.Note != "" {
			fmt.Fprintf(&b, "%s: %s.\n", s.Name, s.Note)
		}
	}
	return b.String()
}

func strategies(rows []Strategy, style Style) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{"strategy", "who balances", "spread per client (%)", "Jain", "idle servers", "new pods called after", "failed calls", "p99 (ms)"})
	for _, s := range rows {
		if s.Status != Ran {
			t.AppendRow(table.Row{s.Name, s.Balancer, style.paint(text.FgYellow, "not run: "+s.Reason)})
			continue
		}
		t.AppendRow(table.Row{
			style.paint(text.Bold, s.Name), s.Balancer, spreadText(s.Spread), number(s.Jain, 3), idleText(s.Idle),
			newPodsText(s.NewPods), count(s.FailedCalls), number(s.P99Millis, 1),
		})
	}
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 2, WidthMax: 25, WidthMaxEnforcer: text.WrapSoft},
		{Number: 3, WidthMax: 30, WidthMaxEnforcer: text.WrapSoft},
		{Number: 4, Align: text.AlignRight},
		{Number: 5, Align: text.AlignRight},
		{Number: 6, Align: text.AlignRight},
		{Number: 7, Align: text.AlignRight},
		{Number: 8, Align: text.AlignRight},
	})
	return t.Render()
}

// Claims returns the claims as lines, by their numbers.
func Claims(rows []Claim, style Style) string {
	marks := map[Status]string{
		Proven:  style.paint(text.FgGreen, "✓"),
		Refuted: style.paint(text.FgRed, "✗"),
		NotRun:  style.paint(text.FgYellow, "–"),
	}
	names := 0
	for _, c := range rows {
		names = max(names, len(c.Strategy))
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b Claim) int { return cmp.Compare(a.ID, b.ID) })
	var b strings.Builder
	for _, c := range rows {
		outcome := c.attempt().Outcome
		if c.Status == NotRun {
			outcome = string(NotRun) + ": " + outcome
		}
		limits := "limit " + c.Limit
		if c.Goal != "" {
			limits += ", goal " + c.Goal
		}
		indent := strings.Repeat(" ", names+7)
		fmt.Fprintf(&b, "%s %2d %-*s  %s\n%s%s (%s)\n", marks[c.Status], c.ID, names, c.Strategy, c.Text, indent, outcome, limits)
		for i, before := range c.Before {
			if before.Status == Proven {
				continue // it was measured again for another claim's sake
			}
			fmt.Fprintf(&b, "%sattempt %d: %s: %s\n", indent, i+1, before.Status, before.Outcome)
		}
	}
	return b.String()
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

func number(f *float64, digits int) string {
	if f == nil {
		return "–"
	}
	return strconv.FormatFloat(*f, 'f', digits, 64)
}

func count(n *int64) string {
	if n == nil {
		return "–"
	}
	return strconv.FormatInt(*n, 10)
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
