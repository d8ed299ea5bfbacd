package echo

import (
	"math"
	"sync"
	"time"

	"google.golang.org/grpc/orca"
)

// loadMemory is how far back a server's load reaches: what happened so long ago
// counts for 1/e of what happens now.
const loadMemory = 5 * time.Second

// load measures a server's load for ORCA. A client's weighted_round_robin gives
// a server the weight
//
//	qps / (application utilization + eps / qps)
//
// Utilization is the number of calls in progress, so that without errors the
// weight is one over the time that the server takes to answer, by Little's law.
// It needs no idea of how many calls a server could take, and counts those that
// hang.
type load struct {
	mu         sync.Mutex
	at         time.Time // of the figures below
	inProgress float64
	// Each counts less as time passes.
	calls, errors float64 // that ended
	busy          float64 // seconds of calls in progress
}

// advance makes the figures those of now. l.mu is held.
func (l *load) advance(now time.Time) {
	keep := math.Exp(-now.Sub(l.at).Seconds() / loadMemory.Seconds())
	l.at = now
	l.calls *= keep
	l.errors *= keep
	l.busy = l.busy*keep + l.inProgress*loadMemory.Seconds()*(1-keep)
}

// begin counts a call that came in.
func (l *load) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance(time.Now())
	l.inProgress++
}

// end counts the end of a call.
func (l *load) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance(time.Now())
	l.inProgress--
	l.calls++
	if err != nil {
		l.errors++
	}
}

// ServerMetrics returns the load for a report.
func (l *load) ServerMetrics() *orca.ServerMetrics {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance(time.Now())
	return &orca.ServerMetrics{
		AppUtilization: l.busy / loadMemory.Seconds(),
		QPS:            l.calls / loadMemory.Seconds(),
		EPS:            l.errors / loadMemory.Seconds(),
		CPUUtilization: -1, // unset
		MemUtilization: -1,
		Utilization:    map[string]float64{},
		RequestCost:    map[string]float64{},
		NamedMetrics:   map[string]float64{},
	}
}
