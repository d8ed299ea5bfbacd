package kube_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

// server answers "METHOD path" as an API server would, and keeps what else it
// was sent. A status other than 200 is the answer's first word.
type server struct {
	answers map[string]any

	mu       sync.Mutex
	requests []string // method, path, query and body
}

// newClient returns a client of a server that also knows Deployments.
func newClient(t *testing.T, s *server) *kube.Client {
	t.Helper()
	discovery := map[string]any{
		"/api":    metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}},
		"/api/v1": metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList"}, GroupVersion: "v1"},
		"/apis": metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList"}, Groups: []metav1.APIGroup{{
			Name: "apps", Versions: []metav1.GroupVersionForDiscovery{{GroupVersion: "apps/v1", Version: "v1"}},
			PreferredVersion: metav1.GroupVersionForDiscovery{GroupVersion: "apps/v1", Version: "v1"},
		}}},
		"/apis/apps/v1": metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList"}, GroupVersion: "apps/v1", APIResources: []metav1.APIResource{
			{Name: "deployments", SingularName: "deployment", Kind: "Deployment", Namespaced: true},
		}},
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, known := discovery[r.URL.Path]
		if !known {
			body, _ := io.ReadAll(r.Body)
			s.mu.Lock()
			s.requests = append(s.requests, strings.TrimSpace(fmt.Sprint(r.Method, " ", r.URL, " ", string(body))))
			s.mu.Unlock()
			answer, known = s.answers[r.Method+" "+r.URL.Path]
		}
		w.Header().Set("Content-Type", "application/json")
		if status, failed := answer.(metav1.Status); failed || !known {
			w.WriteHeader(max(int(status.Code), http.StatusNotFound))
		}
		if text, ok := answer.(string); ok {
			_, _ = io.WriteString(w, text)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(api.Close)
	c, err := kube.New(&rest.Config{Host: api.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func refusal(code int32, message string) metav1.Status {
	return metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: code, Message: message}
}

// The question holds the subject and the permission that were asked for, and a
// "no" that comes with an error is not taken for one.
func TestAllowed(t *testing.T) {
	const path = "POST /apis/authorization.k8s.io/v1/subjectaccessreviews"
	tests := []struct {
		name    string
		answer  any
		allowed bool
		reason  string
		err     string // part of it
	}{
		{name: "allowed", answer: authorizationv1.SubjectAccessReviewStatus{Allowed: true, Reason: "RBAC: allowed by RoleBinding l5d"}, allowed: true, reason: "RBAC: allowed by RoleBinding l5d"},
		{name: "denied", answer: authorizationv1.SubjectAccessReviewStatus{}},
		{name: "allowed_despite_error", answer: authorizationv1.SubjectAccessReviewStatus{Allowed: true, EvaluationError: "role x not found"}, allowed: true},
		{name: "unknown", answer: authorizationv1.SubjectAccessReviewStatus{EvaluationError: "role x not found"}, err: "whether system:serviceaccount:ns:l5d may list pods is not known: role x not found"},
		{name: "refused", answer: refusal(http.StatusForbidden, "not you"), err: "asking whether system:serviceaccount:ns:l5d may list pods: not you"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer := tt.answer
			if status, ok := answer.(authorizationv1.SubjectAccessReviewStatus); ok {
				answer = authorizationv1.SubjectAccessReview{
					TypeMeta: metav1.TypeMeta{Kind: "SubjectAccessReview", APIVersion: "authorization.k8s.io/v1"}, Status: status,
				}
			}
			s := &server{answers: map[string]any{path: answer}}
			allowed, reason, err := newClient(t, s).Allowed(t.Context(), kube.ServiceAccount("ns", "l5d"),
				authorizationv1.ResourceAttributes{Namespace: "other", Verb: "list", Group: "metrics.k8s.io", Resource: "pods", Subresource: "log"})
			if allowed != tt.allowed || reason != tt.reason {
				t.Errorf("Allowed = %t, %q, want %t, %q", allowed, reason, tt.allowed, tt.reason)
			}
			if got := fmt.Sprint(err); (err != nil) != (tt.err != "") || !strings.Contains(got, tt.err) {
				t.Errorf("Allowed = %v, want an error with %q", err, tt.err)
			}
			var asked authorizationv1.SubjectAccessReview
			_, body, _ := strings.Cut(s.requests[0], "{")
			if err := json.Unmarshal([]byte("{"+body), &asked); err != nil {
				t.Fatal(err)
			}
			want := authorizationv1.SubjectAccessReviewSpec{
				User:   "system:serviceaccount:ns:l5d",
				Groups: []string{"system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"},
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: "other", Verb: "list", Group: "metrics.k8s.io", Resource: "pods", Subresource: "log",
				},
			}
			if diff := cmp.Diff(want, asked.Spec); diff != "" {
				t.Errorf("question (-want +got):\n%s", diff)
			}
		})
	}
}

// Every object is sent as a dry run, whatever became of those before it, and all
// refusals come back.
func TestDryRun(t *testing.T) {
	deployment := func(name string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": name, "namespace": "ns"},
		}}
	}
	unserved := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "x.dev/v1", "kind": "X", "metadata": map[string]any{"name": "x"}}}
	const path = "PATCH /apis/apps/v1/namespaces/ns/deployments/"
	s := &server{answers: map[string]any{
		path + "bad":  refusal(http.StatusForbidden, "violates PodSecurity"),
		path + "good": deployment("good"),
		path + "gone": refusal(http.StatusNotFound, `namespaces "ns" not found`),
	}}
	c := newClient(t, s)
	if err := c.DryRun(t.Context(), deployment("good")); err != nil {
		t.Errorf("DryRun = %v, want none", err)
	}
	err := c.DryRun(t.Context(), deployment("bad"), unserved, deployment("good"), deployment("gone"))
	for _, want := range []string{"dry run of Deployment/bad: violates PodSecurity", "dry run of X/x: no matches for kind", `dry run of Deployment/gone: namespaces "ns" not found`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("DryRun = %v, want %q in it", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "good") {
		t.Errorf("DryRun = %v, want nothing of the good one", err)
	}
	var got []string
	for _, r := range s.requests {
		got = append(got, strings.Join(strings.Fields(r)[:2], " "))
	}
	query := "?dryRun=All&fieldManager=" + kube.FieldManager + "&force=true"
	want := []string{path + "good" + query, path + "bad" + query, path + "good" + query, path + "gone" + query}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// The path reaches the pod's port as it is, and a refusal is an error.
func TestProxyGet(t *testing.T) {
	const pod = "GET /api/v1/namespaces/ns/pods/http:l5d-x:9990/proxy"
	s := &server{answers: map[string]any{
		pod + "/admin/metrics.json": `{"a": 1}`,
		pod + "/down":               refusal(http.StatusServiceUnavailable, "connection refused"),
	}}
	c := newClient(t, s)
	if got, err := c.ProxyGet(t.Context(), "ns", "l5d-x", 9990, "/admin/metrics.json"); string(got) != `{"a": 1}` || err != nil {
		t.Errorf("ProxyGet = %q, %v", got, err)
	}
	_, err := c.ProxyGet(t.Context(), "ns", "l5d-x", 9990, "/down")
	if err == nil || !strings.Contains(err.Error(), "getting /down from port 9990 of l5d-x: ") {
		t.Errorf("ProxyGet = %v, want an error that names the path and pod", err)
	}
	if !slices.Contains(s.requests, pod+"/admin/metrics.json") {
		t.Errorf("requests %q lack %q", s.requests, pod)
	}
}
