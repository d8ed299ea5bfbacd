package experiment

import (
	"context"
	"fmt"
	"sync"
)

// record is the one place through which Facts change while a strategy runs.
type record struct {
	mu      sync.Mutex
	facts   *Facts
	changed chan struct{} // closed and made anew by every update
}

func newRecord(facts *Facts) *record {
	return &record{facts: facts, changed: make(chan struct{})}
}

// update changes the facts and wakes who awaits.
func (r *record) update(change func(*Facts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r.facts)
	close(r.changed)
	r.changed = make(chan struct{})
}

// look reads the facts.
func (r *record) look(read func(*Facts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	read(r.facts)
}

// await returns when missing returns "", or with what was still missing when
// the context ended.
func (r *record) await(ctx context.Context, missing func(*Facts) string) error {
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
