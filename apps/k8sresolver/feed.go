package k8sresolver

import (
	"context"
	"sync"
	"time"
)

// feed publishes the changes of a store in rounds. All channels of a watch get a round
// at the same moment and read the same snapshot, so that each view of it is made once.
// A channel that is busy for longer than a round reads the latest snapshot.
type feed struct {
	store *store

	mu      sync.Mutex
	pace    pacer                // mu
	current snapshot             // mu; of the last round
	readers map[*reader]struct{} // mu
}

// reader is a channel's part of a feed.
type reader struct {
	changed chan struct{} // holds one token when there is a round that it has not seen
}

func newFeed(s *store) *feed {
	return &feed{store: s, pace: newPacer(), readers: make(map[*reader]struct{})}
}

func (f *feed) subscribe() *reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &reader{changed: make(chan struct{}, 1)}
	f.readers[r] = struct{}{}
	return r
}

func (f *feed) unsubscribe(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, r)
	f.pace.forget(r)
}

// snapshot returns what the last round has.
func (f *feed) snapshot() snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current
}

// run returns when the context is done.
func (f *feed) run(ctx context.Context) {
	due := time.NewTimer(maxGap)
	due.Stop() // until a change has to wait
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.store.changed:
		case <-due.C:
		}
		if wait := f.round(time.Now()); wait > 0 {
			due.Reset(wait)
		}
	}
}

// round begins a round, or returns how long the change has to wait for the next one.
func (f *feed) round(now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if wait := f.pace.wait(now); wait > 0 {
		return wait
	}
	f.pace.begin(now)
	f.current = f.store.snapshot()
	for r := range f.readers {
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
	return 0
}

// viewed records that the view of a round was made for a key, and what that cost.
func (f *feed) viewed(key viewKey, spent time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pace.spend(key, time.Now(), spent)
}

// read records that a reader has dealt with a round since it began, and whether gRPC
// was updated.
func (f *feed) read(r *reader, began time.Time, updated bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if _, subscribed := f.readers[r]; subscribed { // it may be closed meanwhile
		f.pace.spend(r, now, now.Sub(began))
	}
	if updated {
		f.pace.updated(now)
	}
}
