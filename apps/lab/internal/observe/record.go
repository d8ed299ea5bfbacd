package observe

import (
	"context"
	"fmt"
	"sync"
)

// Record is the one place through which Facts change while a strategy runs.
type Record struct {
	mu      sync.Mutex
	facts   *Facts
	changed chan struct{} // closed and made anew by every update
}

// NewRecord returns the record of facts, which nobody else may touch from then on.
func NewRecord(facts *Facts) *Record {
	return &Record{facts: facts, changed: make(chan struct{})}
}

// Update changes the facts and wakes who awaits.
func (r *Record) Update(change func(*Facts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r.facts)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Look reads the facts.
func (r *Record) Look(read func(*Facts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	read(r.facts)
}

// Await returns when missing returns "", or with what was still missing when
// the context ended.
func (r *Record) Await(ctx context.Context, missing func(*Facts) string) error {
	for {
		r.mu.Lock()
		what, changed := missing(r.facts), r.changed
		r.mu.Unlock()
		if what == "" {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
	}
}
