package k8sresolver

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// snapshot is what is known about a Service at one moment.
type snapshot struct {
	status
	slices []*endpointSlice
}

// status is how a store stands.
type status struct {
	version uint64 // grows with each change of the slices
	synced  bool   // the slices are whole: they were at one moment what the API server has
	err     error  // why there is no answer yet; nil once synced
	syncs   int    // whole lists received so far
	events  int64  // changes of single slices received so far
	up      bool   // the watch is open and the slices are whole
	since   time.Time
}

// staleness returns for how long changes may have been missed.
func (s status) staleness() time.Duration {
	if s.up {
		return 0
	}
	return time.Since(s.since)
}

// store holds the slices of one Service. The Reflector writes it. It knows neither
// ports nor channels, so that channels to different ports of a Service can share it.
type store struct {
	onSync  func()        // called after each whole list, without mu
	changed chan struct{} // holds one token when there is something new

	mu       sync.Mutex
	slices   map[string]*endpointSlice // mu; by name: a namespace has one of each
	received uint64                    // mu; arrivals so far
	now      status                    // mu
}

var _ cache.TransformingStore = (*store)(nil)

func newStore(onSync func()) *store {
	return &store{
		onSync:  onSync,
		changed: make(chan struct{}, 1),
		slices:  make(map[string]*endpointSlice),
		now:     status{since: time.Now()},
	}
}

func (s *store) snapshot() snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return snapshot{status: s.now, slices: slices.Collect(maps.Values(s.slices))}
}

func (s *store) status() status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// fail records why there is no answer. Once there was one, it is kept and the
// failure is no news.
func (s *store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.now.synced {
		s.now.err = err
		s.notify()
	}
}

// setUp records whether changes arrive.
func (s *store) setUp(up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.up != up {
		s.now.up, s.now.since = up, time.Now()
	}
}

// notify says that there is something new. The caller holds mu.
func (s *store) notify() {
	s.now.version++
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// keep stores a slice as the one received last. The caller holds mu.
func (s *store) keep(sl *endpointSlice) {
	s.received++
	sl.received = s.received
	s.slices[sl.name] = sl
}

// Add is called by the Reflector.
func (s *store) Add(obj any) error {
	sl, err := toSlice(obj)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(sl)
	s.now.events++
	s.notify()
	return nil
}

// Update is called by the Reflector.
func (s *store) Update(obj any) error { return s.Add(obj) }

// Delete is called by the Reflector.
func (s *store) Delete(obj any) error {
	name, err := cache.DeletionHandlingObjectToName(obj)
	if err != nil {
		return fmt.Errorf("deleted object: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.slices, name.Name)
	s.now.events++
	s.notify()
	return nil
}

// Replace is called by the Reflector with a whole list, whose order means nothing:
// the slice that was written last counts as received last.
func (s *store) Replace(objs []any, _ string) error {
	list := make([]*endpointSlice, 0, len(objs))
	for _, obj := range objs {
		sl, err := toSlice(obj)
		if err != nil {
			return err
		}
		list = append(list, sl)
	}
	slices.SortFunc(list, func(a, b *endpointSlice) int {
		return cmp.Or(cmp.Compare(a.version(), b.version()), cmp.Compare(a.name, b.name))
	})
	s.replace(list)
	s.onSync()
	return nil
}

func (s *store) replace(list []*endpointSlice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.slices)
	for _, sl := range list {
		s.keep(sl)
	}
	s.now.syncs++
	s.now.synced, s.now.err = true, nil
	s.notify()
}

// Resync is called by the Reflector; there is nothing to repeat.
func (s *store) Resync() error { return nil }

// Transformer makes the Reflector trim objects while it collects a streamed list.
func (s *store) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) { return toSlice(obj) }
}

// toSlice takes what the Reflector has: EndpointSlices of a list and of events,
// trimmed slices of a streamed list.
func toSlice(obj any) (*endpointSlice, error) {
	switch o := obj.(type) {
	case *endpointSlice:
		return o, nil
	case *discoveryv1.EndpointSlice:
		return trim(o), nil
	default:
		return nil, fmt.Errorf("received a %T, expected an EndpointSlice", obj)
	}
}

// version returns the resource version as a number, which orders writes to one
// etcd; another form means no order.
func (s *endpointSlice) version() uint64 {
	n, err := strconv.ParseUint(s.resourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
