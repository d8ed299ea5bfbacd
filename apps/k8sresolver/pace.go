package k8sresolver

import (
	"time"

	"golang.org/x/time/rate"
)

const (
	// An update takes at most about a 16th of the time: gRPC makes a new picker
	// and walks over all endpoints, which is 10 ms for a thousand of them.
	costFactor = 15
	// A lone change brings others along, such as the second slice of a move.
	minGap = 10 * time.Millisecond
	maxGap = time.Second
	// A storm of a minute has at most ten updates a second, the burst counted in.
	burst  = 20
	refill = rate.Limit(9.6)
)

// pacer decides when to publish. After a pause a change is published at once; the
// next ones wait, all together, for a gap that grows with what an update costs: the
// lesser of two costs, since one that met a garbage collection or a blocked channel
// says nothing about the next. While changes keep coming they wait for a token of the
// bucket, too. Additions and removals wait alike.
type pacer struct {
	bucket *rate.Limiter // of updates
	next   time.Time     // no update before
	cost   time.Duration // of the last update
	look   time.Duration // cost of the last evaluation that changed nothing
}

func newPacer() pacer { return pacer{bucket: rate.NewLimiter(refill, burst)} }

// wait returns how long a change has to wait, 0 or less when it need not.
func (p *pacer) wait(now time.Time) time.Duration { return p.next.Sub(now) }

// updated takes note of an update of gRPC, and reserves the next one's token.
func (p *pacer) updated(began, ended time.Time) {
	cost := ended.Sub(began)
	gap := min(max(costFactor*min(cost, p.cost), minGap), maxGap)
	p.cost = cost
	p.next = ended.Add(max(gap, p.bucket.ReserveN(ended, 1).DelayFrom(ended)))
}

// looked takes note of an evaluation that changed nothing, which costs too.
func (p *pacer) looked(began, ended time.Time) {
	cost := ended.Sub(began)
	gap := min(costFactor*min(cost, p.look), maxGap)
	p.look = cost
	if next := ended.Add(gap); next.After(p.next) {
		p.next = next
	}
}
