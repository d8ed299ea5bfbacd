package k8sresolver_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	restwatch "k8s.io/client-go/rest/watch"
)

const apiPrefix = "/apis/discovery.k8s.io/v1/namespaces/"

// apiServer is a stand-in for the API server: it lists and watches EndpointSlices
// in protobuf, streamed lists included, and can be told to misbehave. It holds
// what the tests write, and a log of events from which watches resume.
type apiServer struct {
	mu       sync.Mutex
	changed  *sync.Cond // mu; broadcast after each change below
	version  int
	slices   map[string]*discoveryv1.EndpointSlice
	log      []loggedEvent
	oldest   int // resource versions before this one are gone
	refuse   func(r *http.Request) *apierrors.StatusError
	cuts     int // watches that began before the last cut end
	abort    bool
	watches  int // that are open
	requests []string

	// What is wrong with its lists.
	endless bool                               // streamed ones lack their end
	midway  func(verb string, r *http.Request) // called within them, after each slice, or the header and each 100 bytes, and as a watch begins
}

type loggedEvent struct {
	version int
	event   watch.Event
}

func newAPIServer() *apiServer {
	s := &apiServer{version: 1, slices: make(map[string]*discoveryv1.EndpointSlice)}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// start serves over TLS and HTTP/2 on the loopback and returns how to get there.
func (s *apiServer) start(tb testing.TB) *rest.Config {
	tb.Helper()
	server := httptest.NewUnstartedServer(s)
	server.EnableHTTP2 = true
	server.StartTLS()
	tb.Cleanup(func() {
		s.cut(true)
		server.CloseClientConnections()
		server.Close()
	})
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

// set creates or updates slices.
func (s *apiServer) set(slices ...*discoveryv1.EndpointSlice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, es := range slices {
		es = es.DeepCopy()
		s.version++
		es.ResourceVersion = strconv.Itoa(s.version)
		key, kind := es.Namespace+"/"+es.Name, watch.Added
		if s.slices[key] != nil {
			kind = watch.Modified
		}
		s.slices[key] = es
		s.log = append(s.log, loggedEvent{s.version, watch.Event{Type: kind, Object: es}})
	}
	s.changed.Broadcast()
}

func (s *apiServer) remove(es *discoveryv1.EndpointSlice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	es = es.DeepCopy()
	es.ResourceVersion = strconv.Itoa(s.version)
	delete(s.slices, es.Namespace+"/"+es.Name)
	s.log = append(s.log, loggedEvent{s.version, watch.Event{Type: watch.Deleted, Object: es}})
	s.changed.Broadcast()
}

// cut ends all watches: with abort by a reset of the stream.
func (s *apiServer) cut(abort bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts++
	s.abort = abort
	s.changed.Broadcast()
}

// compact forgets the events so far: who resumes before now gets a 410.
func (s *apiServer) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.oldest, s.log = s.version, nil
}

// refuseWith answers requests with the error, or serves them again for nil.
func (s *apiServer) refuseWith(err *apierrors.StatusError) {
	s.refuseIf(func(*http.Request) *apierrors.StatusError { return err })
}

func (s *apiServer) refuseIf(refuse func(*http.Request) *apierrors.StatusError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

// taken returns the requests since it was called last, as "watch", "stream" for a
// watch that begins with a list, and "list".
func (s *apiServer) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.requests = nil }()
	return s.requests
}

// watching returns how many watches are open.
func (s *apiServer) watching() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watches
}

func forbidden(verb string) *apierrors.StatusError {
	err := apierrors.NewForbidden(discoveryv1.Resource("endpointslices"), "",
		fmt.Errorf("User %q cannot %s resource %q in API group %q in the namespace %q",
			"system:serviceaccount:shop:client", verb, "endpointslices", "discovery.k8s.io", "shop"))
	return err
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	namespace, _, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, apiPrefix), "/endpointslices")
	query := r.URL.Query()
	selector, err := labels.Parse(query.Get("labelSelector"))
	if !ok || err != nil || selector.Empty() {
		http.Error(w, "expected a watch or list of the EndpointSlices of one Service", http.StatusBadRequest)
		return
	}
	mine := func(es *discoveryv1.EndpointSlice) bool {
		return es.Namespace == namespace && selector.Matches(labels.Set(es.Labels))
	}
	verb := "list"
	if query.Get("watch") == "true" {
		verb = "watch"
		if query.Get("sendInitialEvents") == "true" {
			verb = "stream"
		}
	}
	s.mu.Lock()
	s.requests = append(s.requests, verb)
	refuse := s.refuse
	s.mu.Unlock()
	if refuse != nil {
		if status := refuse(r); status != nil {
			send(w, int(status.ErrStatus.Code), &status.ErrStatus)
			return
		}
	}
	if verb == "list" {
		s.list(w, r, mine)
		return
	}
	since, _ := strconv.Atoi(query.Get("resourceVersion"))
	s.watch(w, r, mine, since, verb == "stream")
}

func (s *apiServer) list(w http.ResponseWriter, r *http.Request, mine func(*discoveryv1.EndpointSlice) bool) {
	s.mu.Lock()
	list := &discoveryv1.EndpointSliceList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(s.version)}}
	for _, es := range s.slices {
		if mine(es) {
			list.Items = append(list.Items, *es)
		}
	}
	midway := s.midway
	s.mu.Unlock()
	if midway == nil {
		send(w, http.StatusOK, list)
		return
	}
	whole := httptest.NewRecorder()
	send(whole, http.StatusOK, list)
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
	w.WriteHeader(http.StatusOK)
	midway("header", r)
	for part := range slices.Chunk(whole.Body.Bytes(), 100) {
		if r.Context().Err() != nil {
			return
		}
		_, _ = w.Write(part)
		_ = http.NewResponseController(w).Flush()
		midway("list", r)
	}
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, mine func(*discoveryv1.EndpointSlice) bool, since int, stream bool) {
	gone := false
	defer context.AfterFunc(r.Context(), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		gone = true
		s.changed.Broadcast()
	})()

	s.mu.Lock()
	defer s.mu.Unlock()
	if !stream && since < s.oldest {
		status := apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", since, s.oldest))
		send(w, http.StatusGone, &status.ErrStatus)
		return
	}
	s.watches++
	defer func() { s.watches-- }()
	encoder := newEventEncoder(w)
	if stream {
		since = s.version
		for _, es := range s.slices {
			if mine(es) {
				encoder.send(watch.Event{Type: watch.Added, Object: es})
			}
			if s.midway != nil {
				encoder.flush()
				s.unlocked(func() { s.midway("stream", r) })
			}
		}
	}
	if stream && !s.endless {
		encoder.send(watch.Event{Type: watch.Bookmark, Object: &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
			ResourceVersion: strconv.Itoa(since),
			Annotations:     map[string]string{metav1.InitialEventsAnnotationKey: "true"},
		}}})
	}
	encoder.flush()
	if !stream && s.midway != nil {
		s.unlocked(func() { s.midway("watch", r) })
	}
	for began := s.cuts; ; s.changed.Wait() {
		if gone {
			return
		}
		if s.cuts != began {
			if s.abort {
				panic(http.ErrAbortHandler)
			}
			return
		}
		for _, e := range s.log {
			if e.version > since && mine(e.event.Object.(*discoveryv1.EndpointSlice)) {
				encoder.send(e.event)
			}
		}
		since = s.version
		encoder.flush()
	}
}

// unlocked does something without mu, which the caller holds.
func (s *apiServer) unlocked(do func()) {
	s.mu.Unlock()
	defer s.mu.Lock()
	do()
}

// protobuf returns how the API server writes objects and streams.
func protobuf() (serializer.CodecFactory, runtime.SerializerInfo) {
	scheme := runtime.NewScheme()
	_ = discoveryv1.AddToScheme(scheme)
	metav1.AddToGroupVersion(scheme, metav1.Unversioned)
	codecs := serializer.NewCodecFactory(scheme)
	info, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	return codecs, info
}

func send(w http.ResponseWriter, code int, obj runtime.Object) {
	codecs, info := protobuf()
	version := discoveryv1.SchemeGroupVersion
	if _, ok := obj.(*metav1.Status); ok {
		version = metav1.Unversioned
	}
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
	w.WriteHeader(code)
	_ = codecs.EncoderForVersion(info.Serializer, version).Encode(obj, w)
}

type eventEncoder struct {
	*restwatch.Encoder
	w http.ResponseWriter
}

func newEventEncoder(w http.ResponseWriter) eventEncoder {
	codecs, info := protobuf()
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf+";stream=watch")
	w.WriteHeader(http.StatusOK)
	return eventEncoder{
		Encoder: restwatch.NewEncoder(
			streaming.NewEncoder(info.StreamSerializer.NewFrameWriter(w), codecs.EncoderForVersion(info.StreamSerializer.Serializer, metav1.Unversioned)),
			codecs.EncoderForVersion(info.Serializer, discoveryv1.SchemeGroupVersion)),
		w: w,
	}
}

// send drops errors: the client is gone then, which ends the request's context.
func (e eventEncoder) send(event watch.Event) { _ = e.Encode(&event) }

func (e eventEncoder) flush() { _ = http.NewResponseController(e.w).Flush() }
