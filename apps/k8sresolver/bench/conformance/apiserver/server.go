// Package apiserver is a stand-in for kube-apiserver that misbehaves on demand. It
// lists and watches EndpointSlices over TLS, in JSON and protobuf, streamed lists
// and bookmarks included, and it does at once what a real one does at its leisure:
// it ends watches, forgets its history, refuses, falls silent and sends garbage.
package apiserver

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// Server holds EndpointSlices and a log of what happened to them, from which
// watches resume.
type Server struct {
	http *httptest.Server
	sent atomic.Int64 // bytes of watch events

	mu       sync.Mutex
	changed  *sync.Cond // on mu; broadcast after each change below
	version  int
	slices   map[string]*discoveryv1.EndpointSlice // by namespace/name
	pods     map[string]*corev1.Pod                // by namespace/name; see pods.go
	withPods bool
	log      []entry
	oldest   int // watches from before this version have expired
	streams  map[*stream]struct{}
	requests []Request

	// What the server was told to do.
	refuse      func(Request) *metav1.Status
	tokens      map[string]bool // accepted ones; nil accepts everything
	silent      bool
	stalled     bool     // lists stop after the first object
	endless     bool     // streamed lists lack their end
	lose        []string // the next request with one of these verbs is not answered
	cutShort    bool     // the next plain list stops in the middle
	trickle     time.Duration
	jsonOnly    bool
	noWatchList bool
}

// entry is an event of the log.
type entry struct {
	version  int
	resource string
	event    watch.Event
	before   runtime.Object // what the event replaced, nil for an addition
}

// Start returns a server that listens on the loopback.
func Start() *Server {
	s := &Server{
		version: 1,
		slices:  make(map[string]*discoveryv1.EndpointSlice),
		pods:    make(map[string]*corev1.Pod),
		streams: make(map[*stream]struct{}),
	}
	s.changed = sync.NewCond(&s.mu)
	s.http = httptest.NewUnstartedServer(s)
	s.http.EnableHTTP2 = true
	s.http.Config.ErrorLog = quiet
	s.http.StartTLS()
	return s
}

// Close ends every request and stops listening.
func (s *Server) Close() {
	s.Speak()
	s.Resume()
	s.Reset()
	s.http.CloseClientConnections()
	s.http.Close()
}

// URL returns where the server listens.
func (s *Server) URL() string { return s.http.URL }

// CA returns the certificate that the server is known by, in PEM.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
}

// Set creates or updates slices, each as an event of its own.
func (s *Server) Set(slices ...*discoveryv1.EndpointSlice) {
	s.do(func() {
		for _, es := range slices {
			s.write(es)
		}
		s.syncPods()
	})
}

// write stores a slice. The caller holds mu.
func (s *Server) write(es *discoveryv1.EndpointSlice) {
	es = es.DeepCopy()
	key := es.Namespace + "/" + es.Name
	if old := s.slices[key]; old != nil {
		s.record("endpointslices", watch.Modified, es, old)
	} else {
		s.record("endpointslices", watch.Added, es, nil)
	}
	s.slices[key] = es
}

// Delete deletes slices.
func (s *Server) Delete(slices ...*discoveryv1.EndpointSlice) {
	s.do(func() {
		for _, es := range slices {
			key := es.Namespace + "/" + es.Name
			gone := s.slices[key]
			if gone == nil {
				continue
			}
			delete(s.slices, key)
			s.record("endpointslices", watch.Deleted, gone.DeepCopy(), gone)
		}
		s.syncPods()
	})
}

// record logs an event under a new version, which it writes into the object. The
// caller holds mu.
func (s *Server) record(resource string, kind watch.EventType, obj, before runtime.Object) {
	s.version++
	obj.(metav1.Object).SetResourceVersion(strconv.Itoa(s.version))
	s.log = append(s.log, entry{s.version, resource, watch.Event{Type: kind, Object: obj}, before})
}

// do changes the server's state and wakes whoever waits for a change.
func (s *Server) do(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.changed.Broadcast()
}

// Request is what a client asked for.
type Request struct {
	Verb      string // list, watch, or stream for a watch that begins with a list
	Resource  string // such as endpointslices
	Namespace string // empty for all namespaces
	Selector  string
	Token     string
}

// Requests returns the requests so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Watches returns how many watches are open.
func (s *Server) Watches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// Sent returns how many bytes of events watches have received.
func (s *Server) Sent() int64 { return s.sent.Load() }

var _ http.Handler = (*Server)(nil)
