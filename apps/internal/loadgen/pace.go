package loadgen

import (
	"sync"
	"time"
)

const (
	// maxPhase is the longest distance of the first call from the start.
	maxPhase = 10 * time.Millisecond
	// forever is how long a run without an end takes, and never, in nanoseconds,
	// a distance of calls that fits into it: slow rates have none that does.
	forever = 100 * 365 * 24 * time.Hour
	never   = float64(forever / 2)
)

// pace says when the calls of an open loop are due: from its start on, at equal
// distances, half a step from the grid of the windows, whose ends then fall
// between calls and not on them. A new rate puts the calls where they would have
// been had it held from the start, which keeps that half step.
type pace struct {
	changed chan struct{} // holds one element when set was called

	mu    sync.Mutex
	rate  float64 // calls per second, 0 is a pause
	start time.Time
	next  int64 // number of the next call, from 0 at start
}

func newPace(rate float64) *pace { return &pace{rate: rate, changed: make(chan struct{}, 1)} }

// begin makes start the moment that calls are counted from.
func (p *pace) begin(start time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start, p.next = start, 0
}

// set changes the rate and returns the one before. Calls that were due and not
// taken are forgotten: at the new rate they would come in a burst.
func (p *pace) set(rate float64, now time.Time) (before float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, p.rate = p.rate, rate
	p.next = 0
	if since := now.Sub(p.start) - p.phase(); rate > 0 && since >= 0 {
		p.next = int64(float64(since)/p.interval()) + 1
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
	return before
}

// take returns the moment at which the next call is due, zero in a pause. If it
// has come, the call is the caller's to make.
func (p *pace) take(now time.Time) (due time.Time, taken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate == 0 {
		return time.Time{}, false
	}
	due = p.start.Add(p.phase() + time.Duration(min(float64(p.next)*p.interval(), never)))
	if due.After(now) {
		return due, false
	}
	p.next++
	return due, true
}

// interval is in nanoseconds, in full precision: a rounded one would drift.
func (p *pace) interval() float64 { return min(float64(time.Second)/p.rate, never) }

func (p *pace) phase() time.Duration {
	return time.Duration(min(p.interval()/2, float64(maxPhase)))
}
