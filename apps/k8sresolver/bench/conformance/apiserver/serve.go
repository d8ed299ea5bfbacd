package apiserver

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, ok := parse(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	// Who waits for a change is woken when the request ends.
	defer context.AfterFunc(r.Context(), func() { s.do(func() {}) })()
	status := s.admit(r, req)
	answer := newEncoder(w, r, s.onlyJSON())
	switch {
	case r.Context().Err() != nil:
	case status != nil:
		if d := status.Details; d != nil && d.RetryAfterSeconds > 0 {
			w.Header().Set("Retry-After", fmt.Sprint(d.RetryAfterSeconds))
		}
		answer.object(int(status.Code), status)
	case req.Verb == "list":
		s.list(answer, r, req)
	default:
		s.watch(answer, r, req)
	}
}

// parse reads a path such as /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices,
// with /watch before the namespaces in its old form.
func parse(r *http.Request) (Request, bool) {
	path := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/apis/discovery.k8s.io/v1"), "/api/v1")
	query := r.URL.Query()
	req := Request{Verb: "list", Selector: query.Get("labelSelector")}
	req.Token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	rest, old := strings.CutPrefix(path, "/watch")
	if old || query.Get("watch") == "true" || query.Get("watch") == "1" {
		req.Verb = "watch"
	}
	if query.Get("sendInitialEvents") == "true" {
		req.Verb = "stream"
	}
	parts := strings.Split(strings.Trim(rest, "/"), "/")
	if len(parts) >= 3 && parts[0] == "namespaces" {
		req.Namespace, parts = parts[1], parts[2:]
	}
	req.Resource = parts[0]
	return req, path != r.URL.Path
}

// admit notes the request, and returns why it is refused once the server speaks.
func (s *Server) admit(r *http.Request, req Request) *metav1.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, req)
	for s.silent && r.Context().Err() == nil {
		s.changed.Wait()
	}
	if slices.Contains(s.lose, req.Verb) {
		s.lose = nil
		s.never(r)
	}
	resource := schema.GroupResource{Group: discoveryv1.GroupName, Resource: req.Resource}
	_, err := labels.Parse(req.Selector)
	switch {
	case s.tokens != nil && !s.tokens[req.Token]:
		return &apierrors.NewUnauthorized("Unauthorized").ErrStatus
	case s.refuse != nil && s.refuse(req) != nil:
		return s.refuse(req)
	case req.Resource != "endpointslices" && req.Resource != "pods":
		return Forbidden(req.Verb, req.Resource, req.Namespace)
	case err != nil:
		return &apierrors.NewBadRequest(err.Error()).ErrStatus
	case req.Verb == "stream" && s.noWatchList:
		return &apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "ListOptions"}, resource.Resource, nil).ErrStatus
	}
	if req.Resource == "pods" && !s.withPods {
		s.withPods = true
		s.syncPods()
	}
	return nil
}

// Forbidden is what the API server says to a service account without a Role.
func Forbidden(verb, resource, namespace string) *metav1.Status {
	verb = strings.Replace(verb, "stream", "watch", 1)
	group := discoveryv1.GroupName
	if resource == "pods" {
		group = corev1.GroupName
	}
	return &apierrors.NewForbidden(schema.GroupResource{Group: group, Resource: resource}, "",
		fmt.Errorf("User %q cannot %s resource %q in API group %q in the namespace %q", //nolint:staticcheck // the API server's own words
			"system:serviceaccount:shop:client", verb, resource, group, namespace)).ErrStatus
}

func (s *Server) onlyJSON() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.jsonOnly
}

// matching returns the objects that a request asks for. The caller holds mu.
func (s *Server) matching(req Request) []runtime.Object {
	var found []runtime.Object
	if req.Resource == "pods" {
		for _, pod := range s.pods {
			if matches(req, "pods", pod) {
				found = append(found, pod)
			}
		}
		return found
	}
	for _, es := range s.slices {
		if matches(req, "endpointslices", es) {
			found = append(found, es)
		}
	}
	return found
}

func matches(req Request, resource string, obj runtime.Object) bool {
	o := obj.(metav1.Object)
	selector, _ := labels.Parse(req.Selector)
	return req.Resource == resource &&
		o.GetNamespace() == cmp.Or(req.Namespace, o.GetNamespace()) &&
		selector.Matches(labels.Set(o.GetLabels()))
}

func (s *Server) list(answer *encoder, r *http.Request, req Request) {
	s.mu.Lock()
	for s.stalled && r.Context().Err() == nil {
		s.changed.Wait()
	}
	list := newList(req.Resource, s.version, s.matching(req))
	pause, half := s.trickle, s.cutShort
	s.cutShort = false
	s.mu.Unlock()
	if pause == 0 && !half {
		answer.object(http.StatusOK, list)
		return
	}
	s.listInParts(answer, r, list, pause, half)
}

// listInParts pauses after each eighth of the list, and for ever after half of it.
func (s *Server) listInParts(answer *encoder, r *http.Request, list runtime.Object, pause time.Duration, half bool) {
	body := answer.encode(list)
	answer.w.Header().Set("Content-Type", answer.format.MediaType)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, part := range slices.Collect(slices.Chunk(body, len(body)/8+1)) {
		if half && i == 4 {
			s.never(r)
			return
		}
		_, _ = answer.w.Write(part)
		_ = http.NewResponseController(answer.w).Flush()
		s.wait(r, pause)
	}
}

func newList(resource string, version int, objs []runtime.Object) runtime.Object {
	meta := metav1.ListMeta{ResourceVersion: fmt.Sprint(version)}
	if resource == "pods" {
		list := &corev1.PodList{ListMeta: meta}
		for _, obj := range objs {
			list.Items = append(list.Items, *obj.(*corev1.Pod))
		}
		return list
	}
	list := &discoveryv1.EndpointSliceList{ListMeta: meta, Items: []discoveryv1.EndpointSlice{}}
	for _, obj := range objs {
		list.Items = append(list.Items, *obj.(*discoveryv1.EndpointSlice))
	}
	return list
}
