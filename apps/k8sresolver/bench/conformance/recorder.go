package conformance

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// recorder is a channel that keeps what the resolver tells it.
type recorder struct {
	resolver.ClientConn
	onUpdate func() // called by UpdateState, without mu; written before Build

	mu      sync.Mutex
	events  []event
	changed chan struct{} // closed and replaced after each event
	closed  bool
	late    int // events after the resolver was closed
}

// event is one call of the resolver: UpdateState, or ReportError when err is set.
type event struct {
	at    time.Time
	state resolver.State
	err   error
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

// UpdateState implements resolver.ClientConn.
func (r *recorder) UpdateState(s resolver.State) error {
	r.add(event{at: time.Now(), state: s})
	if r.onUpdate != nil {
		r.onUpdate()
	}
	return nil
}

// ReportError implements resolver.ClientConn.
func (r *recorder) ReportError(err error) { r.add(event{at: time.Now(), err: err}) }

// NewAddress implements resolver.ClientConn.
func (r *recorder) NewAddress(addrs []resolver.Address) {
	_ = r.UpdateState(resolver.State{Addresses: addrs})
}

// ParseServiceConfig implements resolver.ClientConn.
func (r *recorder) ParseServiceConfig(string) *serviceconfig.ParseResult {
	return &serviceconfig.ParseResult{Err: errors.New("there is no service config here")}
}

func (r *recorder) add(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.late++
	}
	r.events = append(r.events, e)
	close(r.changed)
	r.changed = make(chan struct{})
}

// close notes that the resolver must be silent from now on.
func (r *recorder) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// history returns the events so far.
func (r *recorder) history() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *recorder) lateEvents() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.late
}

// await waits until the condition holds for the events, or reports false.
func (r *recorder) await(limit time.Duration, holds func([]event) bool) bool {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		events, changed := slices.Clone(r.events), r.changed
		r.mu.Unlock()
		if holds(events) {
			return true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return false
		}
	}
}

// endpoints returns the endpoints of a state, which a resolver gives as such or as
// addresses, as gRPC reads it.
func endpoints(s resolver.State) []resolver.Endpoint {
	if s.Endpoints != nil {
		return s.Endpoints
	}
	var list []resolver.Endpoint
	for _, a := range s.Addresses {
		list = append(list, resolver.Endpoint{Addresses: []resolver.Address{a}})
	}
	return list
}

// lines writes a state as one line an endpoint, its addresses joined by a plus, in
// the order in which they are tried.
func lines(s resolver.State) []string {
	list := []string{}
	for _, e := range endpoints(s) {
		var addrs []string
		for _, a := range e.Addresses {
			addrs = append(addrs, a.Addr)
		}
		list = append(list, strings.Join(addrs, "+"))
	}
	return list
}

// states returns the states among the events.
func states(events []event) []resolver.State {
	var list []resolver.State
	for _, e := range events {
		if e.err == nil {
			list = append(list, e.state)
		}
	}
	return list
}

// failures returns the errors among the events.
func failures(events []event) []error {
	var list []error
	for _, e := range events {
		if e.err != nil {
			list = append(list, e.err)
		}
	}
	return list
}

// published returns what gRPC has at the end of the events, sorted: nil before the
// first state.
func published(events []event) []string {
	if len(states(events)) == 0 {
		return nil
	}
	return slices.Sorted(slices.Values(lines(newest(events))))
}

// newest returns the state at the end of the events, the zero one before the first.
func newest(events []event) resolver.State {
	var last resolver.State
	for _, s := range states(events) {
		last = s
	}
	return last
}
