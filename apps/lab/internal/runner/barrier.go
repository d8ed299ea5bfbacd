package runner

import (
	"context"
	"sync"
)

// barrier lets the strategies that make one experiment side by side wait for each
// other. It counts them itself: those that joined and have not left yet. Its zero
// value is ready for use.
type barrier struct {
	mu      sync.Mutex
	members int
	waiting int
	met     chan struct{} // closed when all members wait; made by the first that does
	empty   chan struct{} // closed when the last member leaves; made by the first that waits for that
}

// join adds a member. Each member calls drop or leave once.
func (b *barrier) join() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members++
}

// drop removes a member that the others need not wait for any more.
func (b *barrier) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropLocked()
}

func (b *barrier) dropLocked() {
	b.members--
	b.openLocked()
	if b.members == 0 && b.empty != nil {
		close(b.empty)
		b.empty = nil
	}
}

// leave removes a member and returns when all others have left, too: what it does
// next would disturb them.
func (b *barrier) leave(ctx context.Context) error {
	b.mu.Lock()
	if b.empty == nil {
		b.empty = make(chan struct{})
	}
	empty := b.empty
	b.dropLocked()
	b.mu.Unlock()
	return closed(ctx, empty)
}

// meet returns when every member waits in it.
func (b *barrier) meet(ctx context.Context) error {
	b.mu.Lock()
	if b.met == nil {
		b.met = make(chan struct{})
	}
	met := b.met
	b.waiting++
	b.openLocked()
	b.mu.Unlock()
	return closed(ctx, met) // a run that has ended does not count its members any more
}

// openLocked lets everyone go on if everyone is here.
func (b *barrier) openLocked() {
	if b.waiting > 0 && b.waiting >= b.members {
		close(b.met)
		b.met, b.waiting = nil, 0
	}
}

func closed(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
