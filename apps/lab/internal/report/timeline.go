package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Timeline is who answered the calls of one strategy, second by second. Bins are of equal
// length; the counts of a client's window are shared out to the bins that it lies in.
type Timeline struct {
	// Start is the beginning of the first bin, StepSeconds the length of each.
	Start       time.Time `json:"start"`
	StepSeconds float64   `json:"step_s"`
	Bins        int       `json:"bins"`
	// Clients are the pods that called, in the order in which they began.
	Clients []string `json:"clients"`
	// Lanes are the servers, in the order in which they became ready.
	Lanes []Lane `json:"lanes"`
	// Failed counts the failed calls of each bin, Closed the connections that ended in it.
	Failed Bins `json:"failed"`
	Closed Bins `json:"connections_closed"`
}

// Lane is one server pod.
type Lane struct {
	Server string `json:"server"`
	// Ready is when a watch first said that it is ready, Left when it no longer did;
	// zero is never.
	Ready time.Time `json:"ready,omitzero"`
	Left  time.Time `json:"left,omitzero"`
	// FirstCall is when it answered for the first time; zero is never.
	FirstCall time.Time `json:"first_call,omitzero"`
	// Calls holds, by client, how many calls it answered in each bin. A client that it
	// never answered is absent.
	Calls map[string]Bins `json:"calls"`
}

// Total is how many calls of all clients it answered in a bin.
func (l Lane) Total(bin int) (n int64) {
	for _, calls := range l.Calls {
		n += calls[bin]
	}
	return n
}

// Bins holds a count for each bin. Its text is the counts with spaces between them.
type Bins []int64

// MarshalText implements encoding.TextMarshaler.
func (b Bins) MarshalText() ([]byte, error) {
	var text []byte
	for i, n := range b {
		if i > 0 {
			text = append(text, ' ')
		}
		text = strconv.AppendInt(text, n, 10)
	}
	return text, nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bins) UnmarshalText(text []byte) error {
	*b = Bins{}
	for word := range strings.FieldsSeq(string(text)) {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("count %q, expected a number from 0", word)
		}
		*b = append(*b, n)
	}
	return nil
}

// At returns the bin of a moment, which can be outside of the timeline.
func (t Timeline) At(moment time.Time) int {
	step := t.Step()
	offset := moment.Sub(t.Start)
	if offset < 0 {
		offset -= step - 1 // towards the past, as a floor does
	}
	return int(offset / step)
}

// Step is the length of a bin.
func (t Timeline) Step() time.Duration {
	return time.Duration(t.StepSeconds * float64(time.Second))
}

// End is the end of the last bin.
func (t Timeline) End() time.Time { return t.Start.Add(time.Duration(t.Bins) * t.Step()) }

// Growing returns the timeline up to the bin of a moment, with the counts up to known:
// what is later has not been told by all clients.
func (t Timeline) Growing(known, until time.Time) Timeline {
	bins := max(t.At(until)+1, 1)
	grown := func(counts Bins) Bins {
		next := make(Bins, bins)
		copy(next[:min(max(t.At(known), 0), bins)], counts)
		return next
	}
	next := t
	next.Bins, next.Failed, next.Closed, next.Lanes = bins, grown(t.Failed), grown(t.Closed), slices.Clone(t.Lanes)
	for i, l := range next.Lanes {
		next.Lanes[i].Calls = map[string]Bins{}
		for client, calls := range l.Calls {
			next.Lanes[i].Calls[client] = grown(calls)
		}
	}
	return next
}

// Between returns the part from one moment to another, whole bins, without the lanes
// of servers that were not ready and not called in that time, and without the clients
// that got no answer in it.
func (t Timeline) Between(from, to time.Time) Timeline {
	first := min(max(t.At(from), 0), t.Bins)
	last := max(first, min(t.At(to.Add(-1))+1, t.Bins))
	part := t
	part.Start, part.Bins = t.Start.Add(time.Duration(first)*t.Step()), last-first
	part.Failed, part.Closed = t.Failed[first:last], t.Closed[first:last]
	part.Lanes, part.Clients = nil, nil
	called := map[string]bool{}
	for _, l := range t.Lanes {
		own := Lane{Server: l.Server, Ready: l.Ready, Left: l.Left, FirstCall: l.FirstCall, Calls: map[string]Bins{}}
		for client, calls := range l.Calls {
			if cut := calls[first:last]; slices.ContainsFunc(cut, func(n int64) bool { return n > 0 }) {
				own.Calls[client] = cut
				called[client] = true
			}
		}
		there := !l.Ready.IsZero() && l.Ready.Before(part.End()) && (l.Left.IsZero() || l.Left.After(part.Start))
		if there || len(own.Calls) > 0 {
			part.Lanes = append(part.Lanes, own)
		}
	}
	for _, client := range t.Clients {
		if called[client] {
			part.Clients = append(part.Clients, client)
		}
	}
	return part
}

// Busiest is the most calls that one server answered in one bin.
func (t Timeline) Busiest() int64 {
	var most int64
	for _, l := range t.Lanes {
		for bin := range t.Bins {
			most = max(most, l.Total(bin))
		}
	}
	return most
}

// Valid says whether all counts have as many bins as the timeline.
func (t Timeline) Valid() error {
	const most, shortest, longest = 24 * 60 * 60, 0.001, 3600
	if t.StepSeconds < shortest || t.StepSeconds > longest || t.Bins < 0 || t.Bins > most {
		return fmt.Errorf("its timeline has %d bins of %g s, expected at most %d of %g to %d s", t.Bins, t.StepSeconds, most, shortest, longest)
	}
	counts := []Bins{t.Failed, t.Closed}
	for _, l := range t.Lanes {
		counts = slices.AppendSeq(counts, maps.Values(l.Calls))
	}
	for _, c := range counts {
		if len(c) != t.Bins {
			return fmt.Errorf("its timeline has %d bins, and %d counts for one of its lanes", t.Bins, len(c))
		}
	}
	return nil
}
