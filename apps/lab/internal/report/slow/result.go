package slow

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
)

// Result is what was measured. Its JSON is what `lab slow -o json` prints.
type Result struct {
	// Note says what the figures are not.
	Note        string    `json:"note"`
	Started     time.Time `json:"started"`
	Servers     int       `json:"servers"` // one of which is slow
	DelayMS     float64   `json:"delay_ms"`
	SlowDelayMS float64   `json:"slow_delay_ms"`
	Rate        float64   `json:"calls_per_second"` // of all clients together
	Clients     int       `json:"clients"`
	Rounds      int       `json:"rounds"`
	TimeS       float64   `json:"seconds_a_round"` // for each policy
	Policies    []Row     `json:"policies"`
}

// Row is one policy over all rounds.
type Row struct {
	Policy        string `json:"policy"`
	ServiceConfig string `json:"service_config"`
	Calls         int64  `json:"calls"`
	Failed        int64  `json:"failed"`
	// Share is the slow server's part of the answers, 0 to 1.
	Share        float64         `json:"slow_share"`
	ShareByRound []float64       `json:"slow_share_by_round"`
	Latency      calllog.Latency `json:"latency_ms"`
}

const note = "servers and clients are one process and talk over loopback: no cluster, no network between them"

// layout fills a table.
func layout(r Result) table.Writer {
	out := table.NewWriter()
	out.AppendHeader(table.Row{"policy", "calls to the slow server", "in one round", "p50 (ms)", "p90 (ms)", "p99 (ms)", "calls", "failed"})
	var right []table.ColumnConfig
	for i := range 7 {
		right = append(right, table.ColumnConfig{Number: i + 2, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	out.SetColumnConfigs(right)
	for _, p := range r.Policies {
		out.AppendRow(table.Row{
			p.Policy, percent(p.Share), percent(slices.Min(p.ShareByRound)) + " to " + percent(slices.Max(p.ShareByRound)),
			fmt.Sprintf("%.1f", p.Latency.P50), fmt.Sprintf("%.1f", p.Latency.P90), fmt.Sprintf("%.1f", p.Latency.P99),
			p.Calls, p.Failed,
		})
	}
	return out
}

// legend says how the figures came about.
func legend(r Result) string {
	return fmt.Sprintf("One of %d servers answers after %g ms, the others after %g ms. %g calls/s of %d clients, %d rounds of %g s a policy.\nNote: %s.\n",
		r.Servers, r.SlowDelayMS, r.DelayMS, r.Rate, r.Clients, r.Rounds, r.TimeS, r.Note)
}

// Write prints the result for people.
func Write(w io.Writer, r Result) error {
	out := layout(r)
	out.SetStyle(table.StyleLight)
	out.Style().Format.Header = text.FormatDefault
	_, err := io.WriteString(w, out.Render()+"\n"+legend(r))
	return err
}

// Markdown returns the same for a document.
func Markdown(r Result) string { return layout(r).RenderMarkdown() + "\n\n" + legend(r) }

func percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }
