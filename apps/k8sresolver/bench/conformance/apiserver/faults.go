package apiserver

import (
	"io"
	"log"
	"math"
	"net/http"
	"strconv"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// quiet drops what net/http says of handshakes that fail on purpose.
var quiet = log.New(io.Discard, "", 0)

// order makes an open watch do something; it reports whether the watch goes on.
type order func(*stream) bool

// order gives an order to the watches that are open, to be done after the events so
// far. What the server holds changes after it are missed by a watch that it ends.
func (s *Server) order(o order) {
	s.do(func() { s.orderLocked(o) })
}

func (s *Server) orderLocked(o order) {
	for w := range s.streams {
		w.orders = append(w.orders, dated{s.version, o})
	}
}

// End ends the open watches as a server does after their time-out.
func (s *Server) End() {
	s.order(func(*stream) bool { return false })
}

// Reset breaks the open watches off.
func (s *Server) Reset() {
	s.order(func(*stream) bool { panic(http.ErrAbortHandler) })
}

// Expire ends the open watches with an event that says 410, and forgets the past.
func (s *Server) Expire() {
	status := apierrors.NewResourceExpired("too old resource version").ErrStatus
	s.do(func() {
		s.orderLocked(func(w *stream) bool {
			w.send(watch.Event{Type: watch.Error, Object: &status})
			return false
		})
		s.forget()
	})
}

// Forget makes watches that resume from before now fail with 410, as after a
// compaction of etcd.
func (s *Server) Forget() { s.do(s.forget) }

func (s *Server) forget() {
	s.version++
	s.oldest, s.log = s.version, nil
}

// Bookmark sends a bookmark to the open watches.
func (s *Server) Bookmark() {
	s.order(func(w *stream) bool {
		w.send(watch.Event{Type: watch.Bookmark, Object: &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{ResourceVersion: strconv.Itoa(w.at)},
		}})
		return true
	})
}

// Garble writes bytes into the open watches, those of their format, and ends them if
// told.
func (s *Server) Garble(json, protobuf string, end bool) {
	s.order(func(w *stream) bool {
		garbage := json
		if w.format.MediaType == runtime.ContentTypeProtobuf {
			garbage = protobuf
		}
		w.pending.WriteString(garbage)
		return !end
	})
}

// Refuse answers requests for which it returns a status with this; nil serves all
// of them again.
func (s *Server) Refuse(with func(Request) *metav1.Status) {
	s.do(func() { s.refuse = with })
}

// RefuseAll refuses every request with the error, and ends the open watches.
func (s *Server) RefuseAll(err *apierrors.StatusError) {
	s.Refuse(func(Request) *metav1.Status { return &err.ErrStatus })
	s.Reset()
}

// Accept makes the server know these tokens only.
func (s *Server) Accept(tokens ...string) {
	s.do(func() {
		s.tokens = make(map[string]bool)
		for _, t := range tokens {
			s.tokens[t] = true
		}
	})
}

// Silence makes the server take requests and send nothing, until Speak.
func (s *Server) Silence() { s.do(func() { s.silent = true }) }

// Speak ends Silence: what was to be sent is sent.
func (s *Server) Speak() { s.do(func() { s.silent = false }) }

// Stall makes lists stop after the first object, until Resume.
func (s *Server) Stall() { s.do(func() { s.stalled = true }) }

// Resume ends Stall.
func (s *Server) Resume() { s.do(func() { s.stalled = false }) }

// WithoutEnd makes streamed lists lack the bookmark that ends them. News follow.
func (s *Server) WithoutEnd() { s.do(func() { s.endless = true }) }

// Lose makes the next request with one of the verbs never be answered.
func (s *Server) Lose(verbs ...string) { s.do(func() { s.lose = verbs }) }

// CutShort makes the next plain list stop in the middle and never go on.
func (s *Server) CutShort() { s.do(func() { s.cutShort = true }) }

// Trickle makes lists pause after each object, if they are streamed, or each eighth.
func (s *Server) Trickle(pause time.Duration) { s.do(func() { s.trickle = pause }) }

// wait waits, without mu, which the caller holds, for a time or for the client to go.
func (s *Server) wait(r *http.Request, d time.Duration) {
	s.mu.Unlock()
	defer s.mu.Lock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}

// never waits for the client to go.
func (s *Server) never(r *http.Request) { s.wait(r, math.MaxInt64) }

// SpeakJSON makes the server know no protobuf.
func (s *Server) SpeakJSON() { s.do(func() { s.jsonOnly = true }) }

// WithoutWatchList makes the server refuse streamed lists, as before Kubernetes 1.32.
func (s *Server) WithoutWatchList() { s.do(func() { s.noWatchList = true }) }
