package peakewma

import (
	"math"
	"sync"
	"time"
)

// failurePenalty is how long an answer took that did not come.
const failurePenalty = time.Second

// average is what a client knows about one endpoint.
type average struct {
	mu      sync.Mutex
	latency float64 // in nanoseconds, as of at
	at      time.Time
	waiting int
}

// load is what another call would cost: the average latency by now, as often as
// calls would wait. An endpoint that was never called costs nothing until it is.
func (a *average) load(now time.Time, decay time.Duration) float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fade(now, decay, 0)
	if a.latency == 0 && a.waiting > 0 {
		return float64(failurePenalty) * float64(a.waiting) // one call at a time may find out
	}
	return a.latency * float64(a.waiting+1)
}

func (a *average) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting++
}

func (a *average) end(now time.Time, decay, took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting--
	if took := float64(took); took > a.latency {
		a.latency, a.at = took, now
	} else {
		a.fade(now, decay, took)
	}
}

// fade moves the average towards a latency: by 1-1/e within decay.
func (a *average) fade(now time.Time, decay time.Duration, towards float64) {
	if !now.After(a.at) {
		return
	}
	keep := math.Exp(-float64(now.Sub(a.at)) / float64(decay))
	a.latency, a.at = a.latency*keep+towards*(1-keep), now
}
