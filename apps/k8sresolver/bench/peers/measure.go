package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/apiserver"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/report"
)

// figure is what is reported: a summary of the samples of one quantity, which are
// collected over all rounds.
type figure struct {
	name, unit string
	quantity   quantity
	summary    func([]float64) float64
}

// quantity names what experiments take samples of.
type quantity string

const (
	eventDelay  quantity = "event"
	blindEnd    quantity = "end"
	blindReset  quantity = "reset"
	blindGone   quantity = "410"
	stormRate   quantity = "storm rate"
	stormCPU    quantity = "storm cpu"
	stormLag    quantity = "storm lag"
	heapFirst   quantity = "heap"
	heapFurther quantity = "heap further"
	watches     quantity = "watches"
	eventBytes  quantity = "bytes"
	idleCall    quantity = "idle"
	closing     quantity = "close"

	endlessStart  quantity = "endless start"
	cutShortStart quantity = "cut short start"
	lostStart     quantity = "lost start"

	restartFailed   quantity = "restart failed"
	outageFailed    quantity = "outage failed"
	outageEnd       quantity = "outage end"
	clientSize      quantity = "client size"
	clientResident  quantity = "client resident"
	clientAnonymous quantity = "client anonymous"
)

var figures = []figure{
	{"event to UpdateState, p50", "ms", eventDelay, quantile(0.5)},
	{"event to UpdateState, p99", "ms", eventDelay, quantile(0.99)},
	{"blind after the watch ends, p99", "ms", blindEnd, quantile(0.99)},
	{"blind after a reset, p99", "ms", blindReset, quantile(0.99)},
	{"blind after a 410, p99", "ms", blindGone, quantile(0.99)},
	{"storm, 1,000 pods, 67 events a second: updates a second", "", stormRate, quantile(0.5)},
	{"the same: processor", "% of a core", stormCPU, quantile(0.5)},
	{"the same: lag of the last event", "ms", stormLag, quantile(0.5)},
	{"heap of 10,000 endpoints", "KiB", heapFirst, quantile(0.5)},
	{"heap of each further channel to them", "KiB", heapFurther, quantile(0.5)},
	{"watches of 10 channels", "", watches, quantile(0.5)},
	{"event on the wire, per endpoint of its object", "B", eventBytes, quantile(0.5)},
	{"first call after idle, p99", "ms", idleCall, quantile(0.99)},
	{"Close, p99", "ms", closing, quantile(0.99)},
	{"calls at 500 a second that fail while 10 of 10 pods are replaced within 6 s, worst round", "of 1,000", restartFailed, quantile(1)},
	{"calls that fail in an outage of the API server of about 3 s, worst round", "of 1,000", outageFailed, quantile(1)},
	{"from the end of the outage to the first call of a new pod", "s", outageEnd, quantile(0.5)},
	{"the same, worst round", "s", outageEnd, quantile(1)},
	{"to the first call where the streamed list never ends", "s", endlessStart, quantile(0.5)},
	{"to the first call after a plain list that stops in the middle", "s", cutShortStart, quantile(0.5)},
	{"to the first call after a list that is never answered", "s", lostStart, quantile(0.5)},
	{"stripped minimal client", "MiB", clientSize, quantile(0.5)},
	{"its resident set after the first call", "MB", clientResident, quantile(0.5)},
	{"of it anonymous memory, not the program's file", "MB", clientAnonymous, quantile(0.5)},
}

// samples are what one subject was measured at, or why not.
type samples struct {
	numbers map[quantity][]float64
	notes   map[quantity]string
}

func (s samples) add(q quantity, n float64) { s.numbers[q] = append(s.numbers[q], n) }

// note says what there is instead of a number; the last one counts.
func (s samples) note(q quantity, format string, args ...any) {
	s.notes[q] = fmt.Sprintf(format, args...)
}

// fill says why there are no samples of some quantities, where there are none.
func (s samples) fill(quantities []quantity, err error) {
	for _, q := range quantities {
		if len(s.numbers[q]) == 0 && s.notes[q] == "" {
			s.note(q, "none: %v", err)
		}
	}
}

// experiment takes samples of some quantities with a subject.
type experiment struct {
	name string
	run  func(*rig) error
	of   []quantity
	// proxied says that the API server is reached through a proxy, which can be cut.
	proxied bool
}

var clientQuantities = []quantity{clientSize, clientResident, clientAnonymous}

var experiments = []experiment{
	{name: "events", run: events, of: []quantity{eventDelay, eventBytes, blindEnd, blindReset, blindGone, closing}},
	{name: "storm", run: storm, of: []quantity{stormRate, stormCPU, stormLag}},
	{name: "heap", run: heap, of: []quantity{heapFirst, heapFurther, watches}},
	{name: "idle", run: idle, of: []quantity{idleCall}},
	{name: "restart", run: restart, of: []quantity{restartFailed}},
	{name: "outage", run: outage, of: []quantity{outageFailed, outageEnd}, proxied: true},
	{name: "endless-list", run: startWith(endlessStart, (*apiserver.Server).WithoutEnd), of: []quantity{endlessStart}},
	{name: "cut-short-list", run: startWith(cutShortStart, cutShort), of: []quantity{cutShortStart}},
	{name: "lost-list", run: startWith(lostStart, lose), of: []quantity{lostStart}},
	{name: "client", run: least, of: clientQuantities},
}

func experimentNames() []string {
	var names []string
	for _, e := range experiments {
		names = append(names, e.name)
	}
	return names
}

// measure runs every chosen experiment with each subject in turn, round after round.
func measure(ctx context.Context, o options, chosen []peer, dir string) ([]report.Figure, error) {
	all := make(map[string]samples)
	for _, p := range chosen {
		all[p.Name] = samples{numbers: make(map[quantity][]float64), notes: make(map[quantity]string)}
		if !o.chosen.MatchString("client") {
			continue
		}
		fmt.Fprintf(os.Stderr, "building the client of %s\n", p.Name)
		if err := buildClient(ctx, p, dir); err != nil {
			all[p.Name].fill(clientQuantities, err)
		}
	}
	began := time.Now()
	for round := range o.rounds {
		if round > 0 {
			left := time.Since(began) / time.Duration(round) * time.Duration(o.rounds-round)
			fmt.Fprintf(os.Stderr, "about %v to go\n", left.Round(time.Second))
		}
		for _, e := range experiments {
			if !o.chosen.MatchString(e.name) {
				continue
			}
			for _, p := range chosen {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				fmt.Fprintf(os.Stderr, "round %d of %d: %s of %s\n", round+1, o.rounds, e.name, p.Name)
				if err := experimentWith(ctx, e, p, dir, all[p.Name]); err != nil {
					all[p.Name].fill(e.of, err)
				}
			}
		}
	}
	var table []report.Figure
	for _, f := range figures {
		row := report.Figure{Name: f.name, Unit: f.unit, Values: make(map[string]report.Value)}
		for name, s := range all {
			if f.measured(o) {
				row.Values[name] = f.of(s)
			}
		}
		table = append(table, row)
	}
	return table, nil
}

// measured reports whether a chosen experiment takes samples of the figure's quantity.
func (f figure) measured(o options) bool {
	return slices.ContainsFunc(experiments, func(e experiment) bool {
		return o.chosen.MatchString(e.name) && slices.Contains(e.of, f.quantity)
	})
}

func (f figure) of(s samples) report.Value {
	if note := s.notes[f.quantity]; note != "" {
		return report.Value{Note: note}
	}
	if len(s.numbers[f.quantity]) == 0 {
		return report.Value{Note: "-"}
	}
	return report.Value{Number: f.summary(s.numbers[f.quantity])}
}

// quantile returns the smallest sample that the share q of all is not above.
func quantile(q float64) func([]float64) float64 {
	return func(list []float64) float64 {
		sorted := slices.Sorted(slices.Values(list))
		return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
	}
}
