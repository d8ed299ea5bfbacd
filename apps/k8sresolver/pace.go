package k8sresolver

import "time"

const (
	// An update takes at most about a 16th of the time: gRPC makes a new picker
	// and walks over all endpoints, which is 10 ms for a thousand of them.
	costFactor = 15
	// A lone change brings others along, such as the second slice of a move.
	minGap = 10 * time.Millisecond
	// While changes keep coming there are at most ten updates a second, the first
	// few of them, which come faster, counted in.
	busyGap = 101 * time.Millisecond
	maxGap  = time.Second
)

// pacer decides when to publish. After a pause a change is published at once; the
// next ones wait, all together, for a gap that grows while they keep coming and
// with what an update costs: the lesser of two costs, since one that met a garbage
// collection or a blocked channel says nothing about the next. Additions and
// removals wait alike.
type pacer struct {
	next   time.Time     // no update before
	ended  time.Time     // end of the last update
	cost   time.Duration // of the last update
	look   time.Duration // cost of the last evaluation that changed nothing
	streak int           // updates since the last pause
}

// arrived takes note of a change and returns how long it has to wait, 0 or less
// when it need not.
func (p *pacer) arrived(now time.Time) time.Duration {
	if now.Sub(p.ended) >= busyGap {
		p.streak = 0
	}
	return p.next.Sub(now)
}

// updated takes note of an update of gRPC.
func (p *pacer) updated(began, ended time.Time) {
	cost := ended.Sub(began)
	gap := min(max(costFactor*min(cost, p.cost), minGap), maxGap)
	p.next = ended.Add(min(gap<<min(p.streak, 10), max(gap, busyGap)))
	p.ended, p.cost = ended, cost
	p.streak++
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
