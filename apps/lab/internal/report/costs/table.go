// Package costs puts the costs that several runs measured side by side, and says
// which strategy fits whom. It measures nothing.
package costs

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// Baseline is the strategy to which latencies are compared: it adds no hop.
const Baseline = "k8s-api"

// Schema is the number of the form that a Table has as JSON. Tables of earlier labs have
// no number; all that they lack is optional.
const Schema = 1

// Table is what several runs measured. Its JSON is what `lab costs -o json`
// prints.
type Table struct {
	Schema   int               `json:"schema,omitempty"`
	Command  string            `json:"command"`
	Started  time.Time         `json:"started"`
	Finished time.Time         `json:"finished"`
	Runs     int               `json:"runs"`
	Cluster  string            `json:"cluster"`
	Machine  report.Machine    `json:"machine"`
	Versions map[string]string `json:"versions"`
	// Rate is how many calls a second all clients of a strategy made.
	Rate float64 `json:"rate"`
	Rows []Row   `json:"rows"`
}

// Spread is a figure over the runs.
type Spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// Row is one strategy. Figures that no run measured are absent.
type Row struct {
	Strategy string `json:"strategy"`
	Balancer string `json:"balancer"`
	// NotRun says why no run measured it.
	NotRun string `json:"not_run,omitempty"`
	Note   string `json:"note,omitempty"`
	Runs   int    `json:"runs"`
	// Missed says why, where some runs did not measure it.
	Missed string `json:"missed,omitempty"`
	// Shares are the per cents of one client's calls by server, in the last run.
	Shares []float64    `json:"shares,omitempty"`
	Idle   *report.Idle `json:"idle_servers,omitempty"`

	// Beside is how many containers are added to each pod of client or server, Pods
	// how many pods beside them.
	Beside float64 `json:"containers_beside_a_pod"`
	Pods   int     `json:"pods"`
	// Figures are those of report.Cost.
	Figures map[string]Spread `json:"figures,omitempty"`
	// CPU is in milliseconds for 1,000 calls, by part: client, server, proxy.
	CPU map[string]Spread `json:"cpu_ms_per_1000_calls,omitempty"`
	// P50 and P99 are in milliseconds, the added ones over the baseline's in the
	// same run.
	P50      *Spread `json:"p50_ms,omitempty"`
	P99      *Spread `json:"p99_ms,omitempty"`
	AddedP50 *Spread `json:"added_p50_ms,omitempty"`
	AddedP99 *Spread `json:"added_p99_ms,omitempty"`
	// LatencyHDR is the histogram of the calls of all turns of all runs, in the form of
	// report.Turn's. Tables of earlier labs have none.
	LatencyHDR string `json:"latency_hdr,omitempty"`
	// NewPods is in seconds, of the runs in which every client called every new
	// pod; Called of Pairs did in all runs, which watched for so many seconds.
	NewPods *Spread `json:"new_pods_s,omitempty"`
	Called  int     `json:"new_pods_called"`
	Pairs   int     `json:"new_pods_pairs"`
	Watched float64 `json:"new_pods_watched_s"`
	// Failed counts calls by experiment, over all runs.
	Failed    map[string]report.Failed `json:"failed"`
	Encrypted bool                     `json:"encrypted"`
	Change    report.Change            `json:"change"`
}

// Calls returns the histogram of the row's calls, nil if the table has none.
func (r Row) Calls() (*latency.Histogram, error) {
	if r.LatencyHDR == "" {
		return nil, nil
	}
	calls, err := latency.Decode(r.LatencyHDR)
	if err != nil || calls.Count() == 0 {
		return nil, err
	}
	return calls, nil
}

// Of puts runs side by side. The strategies are those of the first.
func Of(runs []report.Result) (Table, error) {
	if len(runs) == 0 {
		return Table{}, fmt.Errorf("costs: no run")
	}
	first, last := runs[0], runs[len(runs)-1]
	t := Table{
		Schema: Schema, Started: first.Started, Finished: last.Finished, Runs: len(runs),
		Cluster: first.Cluster, Machine: first.Machine, Versions: first.Versions,
	}
	for _, s := range first.Strategies {
		row, rate, err := rowOf(s.Name, runs)
		if err != nil {
			return t, fmt.Errorf("costs: %s: %w", s.Name, err)
		}
		t.Rows, t.Rate = append(t.Rows, row), max(t.Rate, rate)
	}
	return t, nil
}

// samples collects one strategy's figures, one a run.
type samples struct {
	p50, p99, added50, added99, newPods []float64
	cpu, figures                        map[string][]float64
	calls                               *latency.Histogram
}

func rowOf(name string, runs []report.Result) (row Row, rate float64, err error) {
	row = Row{Strategy: name, Failed: map[string]report.Failed{}}
	all := samples{cpu: map[string][]float64{}, figures: map[string][]float64{}, calls: latency.New()}
	for _, run := range runs {
		s := strategy(run, name)
		if s == nil {
			continue
		}
		row.Balancer, row.Note = s.Balancer, s.Note
		if s.Cost == nil || len(s.Cost.Turns) == 0 {
			row.Missed = cmp.Or(s.Reason, "it was not called in turns")
			continue
		}
		row.Runs++
		rate = s.Cost.Rate
		if err := row.add(s, &all); err != nil {
			return row, 0, err
		}
		if base := strategy(run, Baseline); base != nil && base.Cost != nil && len(base.Cost.Turns) > 0 {
			p50, p99 := percentiles(s.Cost.Turns)
			base50, base99 := percentiles(base.Cost.Turns)
			all.added50, all.added99 = append(all.added50, p50-base50), append(all.added99, p99-base99)
		}
	}
	if row.Runs == 0 {
		// In brief: a registry's own words are no part of a document.
		row.NotRun, _, _ = strings.Cut(row.Missed, ": ")
		row.Missed = ""
		return row, 0, nil
	}
	if all.calls.Count() > 0 {
		if row.LatencyHDR, err = all.calls.Encode(); err != nil {
			return row, 0, err
		}
	}
	row.P50, row.P99 = spread(all.p50), spread(all.p99)
	row.AddedP50, row.AddedP99 = spread(all.added50), spread(all.added99)
	row.NewPods, row.CPU, row.Figures = spread(all.newPods), spreads(all.cpu), spreads(all.figures)
	return row, rate, nil
}

// add takes what one run measured.
func (r *Row) add(s *report.Strategy, all *samples) error {
	c := s.Cost
	r.Idle, r.Encrypted, r.Change = s.Idle, c.Encrypted && (r.Runs == 1 || r.Encrypted), c.Change
	r.Shares = shares(s.Spread)
	pods := float64(max(c.Proxies.AppPods, 1))
	r.Beside, r.Pods = float64(c.Proxies.Beside)/pods, c.Proxies.Pods
	p50, p99 := percentiles(c.Turns)
	all.p50, all.p99 = append(all.p50, p50), append(all.p99, p99)
	parts := map[string][]float64{}
	for _, turn := range c.Turns {
		for part, used := range turn.CPU {
			parts[part] = append(parts[part], used)
		}
		if turn.LatencyHDR == "" {
			continue
		}
		calls, err := latency.Decode(turn.LatencyHDR)
		if err != nil {
			return err
		}
		all.calls.Merge(calls)
	}
	for part, values := range parts {
		all.cpu[part] = append(all.cpu[part], spread(values).Median)
	}
	for name, value := range c.Figures {
		all.figures[name] = append(all.figures[name], value)
	}
	if n := c.NewPods; n != nil {
		r.Called, r.Pairs, r.Watched = r.Called+n.Called, r.Pairs+n.Pairs, n.WatchedSeconds
		if n.Called == n.Pairs {
			all.newPods = append(all.newPods, n.SlowestSeconds)
		}
	}
	for experiment, f := range c.Failed {
		sum := r.Failed[experiment]
		r.Failed[experiment] = report.Failed{Failed: sum.Failed + f.Failed, Late: sum.Late + f.Late, Calls: sum.Calls + f.Calls}
	}
	return nil
}

func strategy(run report.Result, name string) *report.Strategy {
	if i := slices.IndexFunc(run.Strategies, func(s report.Strategy) bool { return s.Name == name }); i >= 0 {
		return &run.Strategies[i]
	}
	return nil
}

// percentiles is the median of a run's turns.
func percentiles(turns []report.Turn) (p50, p99 float64) {
	var halves, tails []float64
	for _, t := range turns {
		halves, tails = append(halves, t.P50Millis), append(tails, t.P99Millis)
	}
	return spread(halves).Median, spread(tails).Median
}

// shares returns the per cents of the first client's calls, largest first.
func shares(clients []report.ClientSpread) []float64 {
	if len(clients) == 0 {
		return nil
	}
	var all []float64
	var total float64
	for _, n := range clients[0].Servers {
		all, total = append(all, float64(n)), total+float64(n)
	}
	slices.Sort(all)
	slices.Reverse(all)
	for i := range all {
		all[i] *= 100 / max(total, 1)
	}
	return all
}

// spread returns nil of nothing.
func spread(values []float64) *Spread {
	if len(values) == 0 {
		return nil
	}
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return &Spread{Min: values[0], Median: (values[(n-1)/2] + values[n/2]) / 2, Max: values[n-1]}
}

func spreads(values map[string][]float64) map[string]Spread {
	all := map[string]Spread{}
	for name := range values {
		all[name] = *spread(values[name])
	}
	return all
}

// figure returns a figure's spread, nil if no run measured it.
func (r Row) figure(name string) *Spread {
	if s, ok := r.Figures[name]; ok {
		return &s
	}
	return nil
}

// text prints a spread: its median and, of several runs, the ends.
func (s *Spread) text(digits int) string {
	if s == nil || s.Min == 0 && s.Max == 0 {
		return "–"
	}
	return s.number(digits)
}

// number prints a spread that may be nothing but zeros.
func (s *Spread) number(digits int) string {
	scale := math.Pow10(digits)
	number := func(f float64) string {
		return strconv.FormatFloat(math.Round(f*scale)/scale+0, 'f', digits, 64) // -0 + 0 is 0
	}
	median, low, high := number(s.Median), number(s.Min), number(s.Max)
	if low == high {
		return median
	}
	return fmt.Sprintf("%s (%s–%s)", median, low, high)
}

// extra says what is added in containers and pods.
func (r Row) extra() string {
	var parts []string
	if r.Beside > 0 {
		parts = append(parts, strconv.FormatFloat(math.Round(100*r.Beside)/100, 'f', -1, 64)+" a pod")
	}
	switch {
	case r.Pods == 1:
		parts = append(parts, "1 pod")
	case r.Pods > 1:
		parts = append(parts, fmt.Sprintf("%d pods", r.Pods))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// newPods says when new pods are called.
func (r Row) newPods() string {
	switch {
	case r.Pairs == 0:
		return "–"
	case r.Called == 0:
		return fmt.Sprintf("never in %.0f s", r.Watched)
	case r.Called < r.Pairs:
		return fmt.Sprintf("%.0f %% of them in %.0f s", 100*float64(r.Called)/float64(r.Pairs), r.Watched)
	}
	return r.NewPods.number(2) + " s" // 0 is at once
}

func (r Row) failed(experiment string) string {
	f, ok := r.Failed[experiment]
	if !ok {
		return "–"
	}
	text := strconv.FormatInt(f.Failed, 10)
	if f.Late > 0 && f.Late < f.Failed {
		text += fmt.Sprintf(" (%d late)", f.Late)
	} else if f.Late > 0 {
		text += " (late)"
	}
	return text
}

// change says what an application changes against l4.
func (r Row) change() string {
	var parts []string
	if len(r.Change.Args) > 0 {
		var flags []string
		for _, arg := range r.Change.Args {
			flag, _, _ := strings.Cut(arg, "=")
			flags = append(flags, "`"+flag+"`")
		}
		parts = append(parts, strings.Join(flags, " "))
	}
	if r.Change.Code != "" {
		parts = append(parts, "imports `"+r.Change.Code+"`")
	}
	for _, right := range r.Change.Rights {
		parts = append(parts, "a Role: "+right)
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, "; ")
}

func (r Row) encrypted() string {
	if r.Encrypted {
		return "yes"
	}
	return "no"
}

// Experiments are those whose failed calls a row has, in the table's order.
var Experiments = []string{"server-leaves", "rolling-restart", "kill"}

// servers returns the most servers that a row counts idle ones of.
func (t Table) servers() (most int) {
	for _, r := range t.Rows {
		if r.Idle != nil {
			most = max(most, r.Idle.Servers)
		}
	}
	return most
}

// calls returns the most calls that a row has of an experiment.
func (t Table) calls(experiment string) (most int64) {
	for _, r := range t.Rows {
		most = max(most, r.Failed[experiment].Calls)
	}
	return most
}
