package k8sresolver

import (
	"time"

	"golang.org/x/time/rate"
)

const (
	// All channels together spend at most about a 16th of the time: gRPC makes a new
	// picker and walks over all endpoints, which is 10 ms for a thousand of them.
	costFactor = 15
	// Other changes often follow the first one, such as the second slice of a move.
	minGap = 10 * time.Millisecond
	maxGap = time.Second
	// In a minute of constant changes there are at most ten updates a second, including
	// the burst.
	burst  = 20
	refill = rate.Limit(9.6)
)

// pacer decides when a round of updates begins. After a pause a round begins at once.
// The changes that follow wait together for a gap, which grows with the cost of a round.
// If changes keep coming, they also wait for a token of the bucket. Additions and
// removals wait equally long.
type pacer struct {
	bucket *rate.Limiter // of rounds with an update
	next   time.Time     // no round before
	parts  map[any]cost  // of a round, by what names them
	total  time.Duration // what all parts of a round usually cost
	paid   bool          // this round's token is taken
}

// cost is what a part of the rounds costs. The usual cost is the lesser of the last two:
// one that met a garbage collection or a blocked channel does not predict the next.
type cost struct{ last, usual time.Duration }

func newPacer() pacer {
	return pacer{bucket: rate.NewLimiter(refill, burst), parts: make(map[any]cost)}
}

// wait returns how long a change has to wait, 0 or less when it need not.
func (p *pacer) wait(now time.Time) time.Duration { return p.next.Sub(now) }

// begin begins a round, which is taken to cost what it usually does.
func (p *pacer) begin(now time.Time) {
	p.paid = false
	p.notBefore(now.Add(p.gap()))
}

// spend records what a part has cost.
func (p *pacer) spend(part any, now time.Time, spent time.Duration) {
	before := p.parts[part]
	usual := min(before.last, spent)
	p.total += usual - before.usual
	p.parts[part] = cost{last: spent, usual: usual}
	p.notBefore(now.Add(p.gap()))
}

// forget takes a part out of the rounds.
func (p *pacer) forget(part any) {
	p.total -= p.parts[part].usual
	delete(p.parts, part)
}

// updated takes the round's token, if it is not taken.
func (p *pacer) updated(now time.Time) {
	if !p.paid {
		p.paid = true
		p.notBefore(now.Add(p.bucket.ReserveN(now, 1).DelayFrom(now)))
	}
}

func (p *pacer) gap() time.Duration { return min(max(costFactor*p.total, minGap), maxGap) }

func (p *pacer) notBefore(t time.Time) {
	if t.After(p.next) {
		p.next = t
	}
}
