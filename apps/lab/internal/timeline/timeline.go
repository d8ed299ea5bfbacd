// Package timeline turns what was seen of a strategy into who answered its calls over
// time. It is pure.
package timeline

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

const (
	// step is the length of a bin, which is the length of a client's window.
	step = time.Second
	// maxBins bounds what clients with wrong clocks could make of it: a day.
	maxBins = 24 * 60 * 60
)

// Of returns who answered the calls that the clients' logs tell of, and nil if they
// tell of none.
func Of(f *observe.Facts) *report.Timeline { return Last(f, 0) }

// Last returns the last part of the same, of that length; 0 is all.
func Last(f *observe.Facts, length time.Duration) *report.Timeline {
	start, end := span(f)
	if from := end.Add(-length); length > 0 && start.Before(from) {
		start = start.Add(from.Sub(start).Truncate(step)) // a bin keeps its windows as time goes on
	}
	if start.IsZero() {
		return nil
	}
	t := report.Timeline{Start: start, StepSeconds: step.Seconds()}
	t.Bins = min(max(t.At(end)+1, 1), maxBins)
	t.Failed, t.Closed = make(report.Bins, t.Bins), make(report.Bins, t.Bins)
	t.Clients = clients(f)
	servers := map[string]*report.Lane{}
	for name, at := range f.Ready {
		servers[name] = &report.Lane{Server: name, Ready: at, Left: left(f, name), Calls: map[string]report.Bins{}}
	}
	for _, client := range t.Clients {
		for _, w := range slices.Backward(f.Clients[client].Windows) {
			if !w.End.After(start) {
				break // windows are in order
			}
			share(&t, t.Failed, w, distribution.Counts(w.Failures).Total())
			share(&t, t.Closed, w, w.Closed)
			for server, calls := range w.Servers {
				l := servers[server]
				if l == nil {
					l = &report.Lane{Server: server, Calls: map[string]report.Bins{}}
					servers[server] = l
				}
				if l.Calls[client] == nil {
					l.Calls[client] = make(report.Bins, t.Bins)
				}
				share(&t, l.Calls[client], w, calls)
			}
		}
		for server, at := range f.Clients[client].First {
			if l := servers[server]; l != nil && (l.FirstCall.IsZero() || at.Before(l.FirstCall)) {
				l.FirstCall = at
			}
		}
	}
	for _, l := range servers {
		t.Lanes = append(t.Lanes, *l)
	}
	slices.SortFunc(t.Lanes, func(a, b report.Lane) int {
		return cmp.Or(a.Ready.Compare(b.Ready), cmp.Compare(a.Server, b.Server))
	})
	return &t
}

// share adds the count of a window to the bins that it lies in, to each by the time that
// they have in common.
func share(t *report.Timeline, bins report.Bins, w calllog.Window, count int64) {
	length := w.End.Sub(w.Start)
	if length <= 0 {
		if bin := t.At(w.Start); bin >= 0 && bin < len(bins) {
			bins[bin] += count
		}
		return
	}
	given := int64(0)
	for bin := t.At(w.Start); given < count; bin++ {
		passed := min(t.Start.Add(time.Duration(bin+1)*step).Sub(w.Start), length)
		until := int64(math.Round(float64(count) * float64(passed) / float64(length)))
		if bin >= 0 && bin < len(bins) {
			bins[bin] += until - given
		}
		given = until
	}
}

// span is from the beginning of the first window to the end of the last one.
func span(f *observe.Facts) (start, end time.Time) {
	for _, c := range f.Clients {
		if len(c.Windows) == 0 {
			continue
		}
		if first := c.Windows[0].Start; start.IsZero() || first.Before(start) {
			start = first
		}
		if last := c.Windows[len(c.Windows)-1].End; last.After(end) {
			end = last
		}
	}
	return start, end
}

func clients(f *observe.Facts) []string {
	names := observe.Keys(f.Clients)
	slices.SortStableFunc(names, func(a, b string) int {
		return f.Clients[a].Started.Compare(f.Clients[b].Started)
	})
	return names
}

// left is when the endpoints first lacked a server that they had, for good; zero if
// they have it at the end.
func left(f *observe.Facts, server string) time.Time {
	var at time.Time
	for _, e := range f.Endpoints {
		switch _, ready := e.Ready[server]; {
		case ready:
			at = time.Time{}
		case at.IsZero() && !f.Ready[server].After(e.At):
			at = e.At
		}
	}
	return at
}
