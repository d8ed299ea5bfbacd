package k8sresolver_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/resolver"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// silence is in the error about an API server that does not answer.
const silence = "no answer from the API server within"

// recorder is a channel that keeps what the resolver tells it.
type recorder struct {
	resolver.ClientConn
	told chan told

	mu     sync.Mutex
	closed bool
	late   []told // told after the resolver was closed
}

// told is one call of the resolver: UpdateState, or ReportError when err is set.
type told struct {
	endpoints []string
	err       string
}

func (r *recorder) UpdateState(s resolver.State) error {
	r.tell(told{endpoints: describe(s)})
	return nil
}

func (r *recorder) ReportError(err error) { r.tell(told{err: err.Error()}) }

func (r *recorder) tell(what told) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.late = append(r.late, what)
	}
	r.told <- what
}

func (r *recorder) next(t *testing.T) told {
	t.Helper()
	return r.nextWithin(t, patience)
}

func (r *recorder) nextWithin(t *testing.T, d time.Duration) told {
	t.Helper()
	select {
	case got := <-r.told:
		return got
	case <-time.After(d):
		t.Fatalf("the resolver told nothing within %v", d)
		return told{}
	}
}

// nextHeard is next without the silence of an API server that was slow to answer, which
// a busy machine makes of any.
func (r *recorder) nextHeard(t *testing.T) told {
	t.Helper()
	got := r.next(t)
	for strings.Contains(got.err, silence) {
		got = r.next(t)
	}
	return got
}

func (r *recorder) wantEndpoints(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(told{endpoints: want}, r.nextHeard(t), cmp.AllowUnexported(told{})); diff != "" {
		t.Fatalf("the resolver told (-want +got):\n%s", diff)
	}
}

// wantTold is wantEndpoints for what must have been told already.
func (r *recorder) wantTold(t *testing.T, want ...string) {
	t.Helper()
	if len(r.told) == 0 {
		t.Fatalf("the resolver told nothing yet, want %v", want)
	}
	r.wantEndpoints(t, want...)
}

func (r *recorder) wantError(t *testing.T, parts ...string) {
	t.Helper()
	got := told{}
	if strings.HasPrefix(parts[0], silence) {
		got = r.next(t)
	} else {
		got = r.nextHeard(t)
	}
	for _, want := range parts {
		if !strings.Contains(got.err, want) {
			t.Fatalf("the resolver told %+v, want an error with %q", got, want)
		}
	}
}

// wantNothing fails if the resolver told more than the test has looked at.
func (r *recorder) wantNothing(t *testing.T) {
	t.Helper()
	select {
	case got := <-r.told:
		t.Fatalf("the resolver told %+v, want nothing", got)
	default:
	}
}

// lastState is a channel that keeps the last set it was given.
type lastState struct {
	resolver.ClientConn

	mu        sync.Mutex
	endpoints []string
}

func (l *lastState) UpdateState(s resolver.State) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endpoints = describe(s)
	return nil
}

func (l *lastState) ReportError(error) {}

func (l *lastState) get() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.endpoints
}
