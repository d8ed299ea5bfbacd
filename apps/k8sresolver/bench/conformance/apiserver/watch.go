package apiserver

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// stream is an open watch. Its fields belong to the server's mu.
type stream struct {
	*encoder
	at      int // version up to which events are sent or pending
	pending bytes.Buffer
	orders  []dated
}

func (w *stream) send(event watch.Event) { w.pending.Write(w.frame(event)) }

// flush sends what is pending without mu, which the caller holds: a client that does
// not read must not stop the server.
func (s *Server) flush(w *stream) {
	b := bytes.Clone(w.pending.Bytes())
	w.pending.Reset()
	s.mu.Unlock()
	defer s.mu.Lock()
	s.sent.Add(int64(len(b)))
	_, _ = w.w.Write(b)
	_ = http.NewResponseController(w.w).Flush()
}

// dated is an order and the version at which it was given.
type dated struct {
	version int
	order   order
}

func (s *Server) watch(answer *encoder, r *http.Request, req Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	resumes := err == nil && since > 0 && req.Verb != "stream"
	if resumes && since < s.oldest {
		answer.object(http.StatusGone, &apierrors.NewResourceExpired("too old resource version").ErrStatus)
		return
	}
	w := &stream{encoder: answer, at: since}
	s.streams[w] = struct{}{}
	defer delete(s.streams, w)

	w.begin()
	s.flush(w)
	if !resumes {
		s.sendAll(w, r, req)
	}
	for r.Context().Err() == nil {
		if !s.silent {
			for len(w.orders) > 0 {
				next := w.orders[0]
				w.orders = w.orders[1:]
				s.sendUpTo(w, req, next.version)
				s.flush(w)
				goesOn := next.order(w)
				s.flush(w)
				if !goesOn {
					return
				}
			}
			s.sendUpTo(w, req, s.version)
			if w.pending.Len() > 0 {
				s.flush(w)
				continue // more may have come meanwhile
			}
		}
		s.changed.Wait()
	}
}

// sendAll sends what there is as events, and a bookmark after it if the client
// asked for a streamed list.
func (s *Server) sendAll(w *stream, r *http.Request, req Request) {
	objs := s.matching(req)
	slices.SortFunc(objs, func(a, b runtime.Object) int { return version(a) - version(b) })
	w.at = s.version
	for i, obj := range objs {
		w.send(watch.Event{Type: watch.Added, Object: obj})
		for i == 0 && s.stalled && r.Context().Err() == nil {
			s.flush(w)
			s.changed.Wait()
		}
		if s.trickle > 0 {
			s.flush(w)
			s.wait(r, s.trickle)
		}
	}
	if req.Verb == "stream" && !s.endless {
		meta := metav1.ObjectMeta{
			ResourceVersion: strconv.Itoa(w.at),
			Annotations:     map[string]string{metav1.InitialEventsAnnotationKey: "true"},
		}
		var end runtime.Object = &discoveryv1.EndpointSlice{ObjectMeta: meta}
		if req.Resource == "pods" {
			end = &corev1.Pod{ObjectMeta: meta}
		}
		w.send(watch.Event{Type: watch.Bookmark, Object: end})
	}
}

func version(obj runtime.Object) int {
	n, _ := strconv.Atoi(obj.(metav1.Object).GetResourceVersion())
	return n
}

// sendUpTo sends the log's events that the watch has not had.
func (s *Server) sendUpTo(w *stream, req Request, version int) {
	for _, e := range s.log {
		if e.version > w.at && e.version <= version {
			if event, ok := e.asSeenBy(req); ok {
				w.send(event)
			}
		}
	}
	w.at = max(w.at, version)
}

// asSeenBy returns the event for a watch that selects: an object whose labels change
// comes and goes.
func (e entry) asSeenBy(req Request) (watch.Event, bool) {
	is := matches(req, e.resource, e.event.Object)
	was := e.before != nil && matches(req, e.resource, e.before)
	event := e.event
	switch {
	case is && !was && e.before != nil && event.Type != watch.Deleted:
		event.Type = watch.Added
	case was && !is:
		event.Type = watch.Deleted
	}
	return event, is || was
}
