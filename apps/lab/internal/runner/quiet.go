package runner

import (
	"context"
	"sync"
)

// quiet lets strategies that run side by side be measured at rest: what one
// does would otherwise show in the latency of the others. Its zero value is
// ready for use.
type quiet struct {
	mu      sync.Mutex
	members int
	waiting int
	opened  chan struct{} // closed when all members wait; made by the first that does
	turn    sync.Mutex    // held by the one member that does something alone
	hands   chan struct{} // holds a token for each member that starts pods; made by the first
}

// fewAtOnce is how many strategies start pods at the same time: more would
// measure the machine.
const fewAtOnce = 2

// join makes one more strategy that the others wait for, until leave is called.
func (q *quiet) join() (leave func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.members++
	return sync.OnceFunc(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.members--
		q.open()
	})
}

// wait returns when every member waits, or has left.
func (q *quiet) wait(ctx context.Context) error {
	q.mu.Lock()
	if q.opened == nil {
		q.opened = make(chan struct{})
	}
	opened := q.opened
	q.waiting++
	q.open()
	q.mu.Unlock()
	select {
	case <-opened:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx) // the run ends: nobody counts any more
	}
}

// open lets everyone go on if everyone is here. The caller holds the lock.
func (q *quiet) open() {
	if q.waiting > 0 && q.waiting >= q.members {
		close(q.opened)
		q.opened, q.waiting = nil, 0
	}
}

// Alone runs do while no other member does.
func (q *quiet) Alone(ctx context.Context, do func() error) error {
	q.turn.Lock()
	defer q.turn.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return do()
}

// startPods waits until few enough members start pods, and counts as one of them
// until done is called.
func (q *quiet) startPods(ctx context.Context) (done func(), err error) {
	q.mu.Lock()
	if q.hands == nil {
		q.hands = make(chan struct{}, fewAtOnce)
	}
	hands := q.hands
	q.mu.Unlock()
	select {
	case hands <- struct{}{}:
		return sync.OnceFunc(func() { <-hands }), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
