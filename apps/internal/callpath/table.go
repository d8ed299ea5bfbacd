package callpath

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// programs fills the table of who calls whom.
func programs(r Result) table.Writer {
	out := layout(5)
	out.AppendHeader(table.Row{"client and server", fmt.Sprintf("calls/s, %d in flight", r.InFlight), "p50, 1 in flight", "client's CPU per call", "server's CPU per call"})
	for _, row := range []struct {
		name string
		p    Program
	}{
		{"grpc-go's benchmark", r.Benchmark},
		{"ghz and echo-server", r.GhzEcho},
		{"echo-client and echo-server", r.Echo},
		{"the same, --orca-per-call", r.PerCall},
	} {
		out.AppendRow(table.Row{row.name, number(Median(row.p.CallsPerSecond)), micros(row.p.P50), micros(row.p.ClientCPU), micros(row.p.ServerCPU)})
	}
	return out
}

// goals fills the table of what the figures are held to.
func goals(r Result) table.Writer {
	out := layout(2)
	out.AppendHeader(table.Row{"goal", "measured", ""})
	for _, g := range r.Goals() {
		out.AppendRow(table.Row{g.Text, g.Measured, verdict(g.Kept)})
	}
	return out
}

// rates fills the table of the open loop.
func rates(r Result) table.Writer {
	out := layout(4)
	out.AppendHeader(table.Row{"open loop, calls/s asked for", "made", "in the furthest round", "p99 from when due"})
	for _, o := range r.OpenLoop {
		out.AppendRow(table.Row{number(o.Asked), fmt.Sprintf("%.1f", Median(o.Made)), fmt.Sprintf("%.1f", o.furthest()), micros(o.P99)})
	}
	return out
}

// layout returns a table whose columns but the first are figures.
func layout(columns int) table.Writer {
	out := table.NewWriter()
	var right []table.ColumnConfig
	for i := 2; i <= columns; i++ {
		right = append(right, table.ColumnConfig{Number: i, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	out.SetColumnConfigs(right)
	out.SetStyle(table.StyleLight)
	out.Style().Format.Header = text.FormatDefault
	return out
}

// legend says how the figures came about.
func legend(r Result) string {
	return fmt.Sprintf(`Medians of %d rounds, in each of which all take turns of %g s, on loopback. Client and server are a process each and may use all CPUs;
all calls of a client share one connection. A request has %d bytes and an answer %d. CPU times are those with %d calls in flight.
%s, %s, grpc-go %s, ghz %s.
`, r.Rounds, r.TimeS, r.RequestBytes, r.ResponseBytes, r.InFlight, r.Machine, r.Go, r.GRPC, r.Ghz)
}

// Write prints the result for people.
func Write(w io.Writer, r Result) error {
	return join(w, programs(r).Render(), rates(r).Render(), goals(r).Render(), legend(r))
}

// Markdown returns the same for a document.
func Markdown(r Result) string {
	var b strings.Builder
	_ = join(&b, programs(r).RenderMarkdown()+"\n", rates(r).RenderMarkdown()+"\n", goals(r).RenderMarkdown()+"\n", legend(r)) // a Builder does not fail
	return b.String()
}

func join(w io.Writer, parts ...string) error {
	_, err := io.WriteString(w, strings.Join(parts, "\n"))
	return err
}

func verdict(kept bool) string {
	if kept {
		return "kept"
	}
	return "missed"
}

func number(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	whole := fmt.Sprintf("%.0f", v)
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return whole
}

func micros(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	return number(Median(values)) + " µs"
}
