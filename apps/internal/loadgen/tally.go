package loadgen

import (
	"maps"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// answer is the outcome of one call.
type answer struct {
	server  string               // the name of who answered; "" when err is set, or when nobody asks
	reply   *echopb.EchoResponse // nil when err is set
	err     error
	refused bool // not sent, because too many calls were in flight
}

func (a answer) code() string {
	if a.refused {
		return calllog.CodeBacklogFull
	}
	return status.Code(a.err).String()
}

// counters counts calls over some time.
type counters struct {
	issued, calls int64
	failures      map[string]int64
	results       map[codes.Code]int64
	latency       *latency.Histogram
}

func newCounters() *counters {
	return &counters{
		failures: map[string]int64{}, results: map[codes.Code]int64{}, latency: latency.New(),
	}
}

func (c *counters) complete(a answer, took time.Duration) {
	c.calls++
	c.latency.Record(took)
	c.results[status.Code(a.err)]++
	if a.err != nil {
		c.failures[a.code()]++
	}
}

// answers counts those of one server, in total and in the window.
type answers struct{ total, window int64 }

// event is something to be written; hist is set for windows alone, and encoded
// by the writer, so that it delays no call.
type event struct {
	line calllog.Line
	hist *latency.Histogram
}

// tally counts calls as they are issued and completed. Every method may be
// called from any goroutine.
type tally struct {
	conns  *connections
	events chan<- event // written under mu, so that lines keep their order

	mu       sync.Mutex
	inFlight int64
	total    *counters
	servers  map[string]*answers // those that have answered
	watchers map[*watcher]struct{}
	over     bool // finish was called

	// The window that is being counted. ripe says that its time is over and that
	// it ends at the first moment without a call in flight.
	window *counters
	seq    int
	start  time.Time
	ripe   bool
	before connectionCounts // when the window began
}

func newTally(conns *connections, events chan<- event) *tally {
	return &tally{
		conns: conns, events: events, total: newCounters(), window: newCounters(),
		servers: map[string]*answers{}, watchers: map[*watcher]struct{}{},
	}
}

// restart makes now the start of the first window and returns it.
func (t *tally) restart() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start = time.Now()
	return t.start
}

// issue counts a call and returns its number, from 1, and how many are in flight
// with it.
func (t *tally) issue() (id, inFlight int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total.issued++
	t.window.issued++
	t.inFlight++
	return t.total.issued, t.inFlight
}

// complete counts the outcome of the call with that number, which was due at
// that time.
func (t *tally) complete(id int64, due time.Time, a answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.inFlight--
	t.total.complete(a, now.Sub(due))
	t.window.complete(a, now.Sub(due))
	switch {
	case a.err != nil && t.window.failures[a.code()] == 1:
		t.events <- event{line: &calllog.Failure{Header: at(now), Code: a.code(), Error: status.Convert(a.err).Message()}}
	case a.server != "":
		t.answered(a, now)
	}
	for w := range t.watchers {
		w.complete(id, a)
	}
	if t.ripe && t.inFlight == 0 {
		t.cut(now)
	}
}

// answered counts who answered. t.mu is held.
func (t *tally) answered(a answer, now time.Time) {
	by := t.servers[a.server]
	if by == nil {
		by = new(answers)
		t.servers[a.server] = by
		t.events <- event{line: &calllog.FirstAnswer{Header: at(now), Server: a.server, Reply: a.reply}}
	}
	by.total++
	by.window++
}

// ripen says that the window's time is over.
func (t *tally) ripen() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ripe = true
	if t.inFlight == 0 {
		t.cut(time.Now())
	}
}

// cutIfRipe ends the window if it still waits for a moment without calls.
func (t *tally) cutIfRipe() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ripe {
		t.cut(time.Now())
	}
}

// finish ends the last window and sums up. Nothing may be issued afterwards.
func (t *tally) finish() *calllog.Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.cut(now)
	t.over = true
	for w := range t.watchers {
		w.end()
	}
	servers := distribution.Counts{}
	for server, by := range t.servers {
		servers[server] = by.total
	}
	conns := t.conns.counts()
	summary := &calllog.Summary{
		Header: at(now), Calls: t.total.calls, Issued: t.total.issued, Failures: t.total.failures, Servers: servers,
		Share: servers.Shares(), Jain: servers.Jain(), PeakToMean: servers.PeakToMean(),
		Opened: conns.opened, Verified: conns.verified, Latency: t.total.latency.Percentiles(),
	}
	t.events <- event{line: summary}
	return summary
}

// cut ends the window and begins the next. t.mu is held.
func (t *tally) cut(now time.Time) {
	t.seq++
	w := t.window
	servers := map[string]int64{}
	for server, by := range t.servers {
		if by.window > 0 {
			servers[server], by.window = by.window, 0
		}
	}
	conns := t.conns.counts()
	t.events <- event{hist: w.latency, line: &calllog.Window{
		Header: at(now), Seq: t.seq, Start: t.start, End: now, Issued: w.issued, Calls: w.calls, Failures: w.failures, Servers: servers,
		Connections: conns.opened - conns.closed, Opened: conns.opened - t.before.opened,
		Verified: conns.verified - t.before.verified, Closed: conns.closed - t.before.closed, Barrier: t.inFlight == 0,
	}}
	t.before, t.window, t.start, t.ripe = conns, newCounters(), now, false
}

// peerShown writes that a server has shown a certificate for the first time.
func (t *tally) peerShown(line *calllog.Peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.events <- event{line: line}
	}
}

// results returns the calls issued and the outcomes by code since the start.
func (t *tally) results() (issued int64, results map[codes.Code]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total.issued, maps.Clone(t.total.results)
}

func at(now time.Time) calllog.Header { return calllog.Header{Time: now} }
