package k8sresolver

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// snapshot is what is known about a Service at one moment.
type snapshot struct {
	slices []*slice
	synced bool  // slices is whole: it was at one moment what the API server has
	err    error // why there is no answer yet; nil once synced
}

// store holds the slices of one Service. The Reflector writes it; whoever is told
// through changed reads it. It knows neither ports nor channels, so that channels
// to different ports of a Service can share it.
type store struct {
	// changed holds one token when there is something new; a reader that was
	// busy finds only the latest.
	changed chan struct{}
	onSync  func() // called after each whole list, without mu

	mu       sync.Mutex
	slices   map[string]*slice // by name: a namespace has one of each
	received uint64            // arrivals so far
	syncs    int               // whole lists received so far
	err      error
}

var _ cache.TransformingStore = (*store)(nil)

func newStore(onSync func()) *store {
	return &store{changed: make(chan struct{}, 1), onSync: onSync, slices: make(map[string]*slice)}
}

func (s *store) snapshot() snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return snapshot{
		slices: slices.Collect(maps.Values(s.slices)),
		synced: s.syncs > 0,
		err:    s.err,
	}
}

func (s *store) syncCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.syncs
}

// fail records why there is no answer. Once there was one, it is kept and the
// failure is no news to readers.
func (s *store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.syncs == 0 {
		s.err = err
		s.notify()
	}
}

// notify wakes the reader, unless it is woken already.
func (s *store) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// keep stores a slice as the one received last. The caller holds mu.
func (s *store) keep(sl *slice) {
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
	s.notify()
	return nil
}

// Update is called by the Reflector.
func (s *store) Update(obj any) error { return s.Add(obj) }

// Delete is called by the Reflector.
func (s *store) Delete(obj any) error {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
	if err != nil {
		return fmt.Errorf("deleted object: %w", err)
	}
	name, err := cache.ParseObjectName(key)
	if err != nil {
		return fmt.Errorf("deleted object: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.slices, name.Name)
	s.notify()
	return nil
}

// Replace is called by the Reflector with a whole list, whose order means nothing:
// the slice that was written last counts as received last.
func (s *store) Replace(objs []any, _ string) error {
	list := make([]*slice, 0, len(objs))
	for _, obj := range objs {
		sl, err := toSlice(obj)
		if err != nil {
			return err
		}
		list = append(list, sl)
	}
	slices.SortFunc(list, func(a, b *slice) int {
		return cmp.Or(cmp.Compare(a.version(), b.version()), cmp.Compare(a.name, b.name))
	})
	s.replace(list)
	s.onSync()
	return nil
}

func (s *store) replace(list []*slice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.slices)
	for _, sl := range list {
		s.keep(sl)
	}
	s.syncs++
	s.err = nil
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
func toSlice(obj any) (*slice, error) {
	switch o := obj.(type) {
	case *slice:
		return o, nil
	case *discoveryv1.EndpointSlice:
		return trim(o), nil
	default:
		return nil, fmt.Errorf("received a %T, expected an EndpointSlice", obj)
	}
}

// version returns the resource version as a number, which orders writes to one
// etcd; another form means no order.
func (s *slice) version() uint64 {
	n, err := strconv.ParseUint(s.resourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
