package kube_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

// A preview gets the live object and sends a dry run in the name of who applied
// it, whatever the answer is.
func TestPreview(t *testing.T) {
	object := func(managers ...metav1.ManagedFieldsEntry) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web", "namespace": "ns"},
		}}
		o.SetManagedFields(managers)
		return o
	}
	applied := func(by string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: by, Operation: metav1.ManagedFieldsOperationApply}
	}
	updated := metav1.ManagedFieldsEntry{Manager: "kube-controller-manager", Operation: metav1.ManagedFieldsOperationUpdate}
	status := metav1.ManagedFieldsEntry{Manager: "other", Operation: metav1.ManagedFieldsOperationApply, Subresource: "status"}
	const path = "/apis/apps/v1/namespaces/ns/deployments/web"
	tests := []struct {
		name       string
		live       any
		result     any
		manager    string
		wantLive   bool
		wantResult bool
		refused    string // part of it
		err        string
	}{
		{name: "not_there", live: refusal(http.StatusNotFound, "not found"), result: object(), manager: kube.FieldManager, wantResult: true},
		{name: "applied_by_the_lab", live: object(applied(kube.FieldManager), updated), result: object(), manager: kube.FieldManager, wantLive: true, wantResult: true},
		{name: "applied_by_argo_cd", live: object(updated, status, applied("argocd-controller")), result: object(), manager: "argocd-controller", wantLive: true, wantResult: true},
		{name: "applied_by_two", live: object(applied("argocd-controller"), applied("kubectl")), result: object(), manager: kube.FieldManager, wantLive: true, wantResult: true},
		{name: "created", live: object(updated), result: object(), manager: kube.FieldManager, wantLive: true, wantResult: true},
		{name: "refused", live: object(), result: refusal(http.StatusUnprocessableEntity, "field is immutable"), manager: kube.FieldManager, wantLive: true, refused: "field is immutable"},
		{name: "forbidden", live: refusal(http.StatusForbidden, "not you"), err: "kube: getting Deployment/web: not you"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &server{answers: map[string]any{"GET " + path: tt.live, "PATCH " + path: tt.result}}
			p, err := newClient(t, s).Preview(t.Context(), object())
			if (err != nil) != (tt.err != "") || err != nil && err.Error() != tt.err {
				t.Errorf("Preview = %v, want error %q", err, tt.err)
			}
			if (p.Live != nil) != tt.wantLive || (p.Result != nil) != tt.wantResult {
				t.Errorf("Preview = %+v, want live %t and result %t", p, tt.wantLive, tt.wantResult)
			}
			if (p.Refused != nil) != (tt.refused != "") || p.Refused != nil && !strings.Contains(p.Refused.Error(), tt.refused) {
				t.Errorf("Preview is refused: %v, want %q", p.Refused, tt.refused)
			}
			var got []string
			for _, r := range s.requests {
				got = append(got, strings.Join(strings.Fields(r)[:2], " "))
			}
			want := []string{"GET " + path}
			if tt.err == "" {
				want = append(want, "PATCH "+path+"?dryRun=All&fieldManager="+tt.manager+"&force=true")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// A kind that no group serves is told apart from what could not be asked.
func TestPreviewOfAnUnservedKind(t *testing.T) {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "x.dev/v1", "kind": "X", "metadata": map[string]any{"name": "x"}}}
	_, err := newClient(t, &server{}).Preview(t.Context(), o)
	if !meta.IsNoMatchError(err) {
		t.Errorf("Preview = %v, want a NoMatchError", err)
	}
}

// A list is asked for by its selector, and its objects know their kind.
func TestList(t *testing.T) {
	const path = "GET /apis/apps/v1/namespaces/ns/deployments"
	s := &server{answers: map[string]any{path: map[string]any{
		"apiVersion": "apps/v1", "kind": "DeploymentList",
		"items": []any{map[string]any{"metadata": map[string]any{"name": "web", "namespace": "ns"}}},
	}}}
	kind := schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	got, err := newClient(t, s).List(t.Context(), kind, "ns", "a=b")
	if err != nil || len(got) != 1 || got[0].GetName() != "web" || got[0].GroupVersionKind() != kind {
		t.Errorf("List = %v, %v, want Deployment web", got, err)
	}
	if len(s.requests) != 1 || s.requests[0] != path+"?labelSelector=a%3Db" {
		t.Errorf("requests: %q", s.requests)
	}
	s.answers = map[string]any{path: refusal(http.StatusForbidden, "not you")}
	if _, err := newClient(t, s).List(t.Context(), kind, "ns", ""); err == nil || err.Error() != "kube: listing Deployment in ns: not you" {
		t.Errorf("List = %v, want the refusal", err)
	}
	kind.Kind = "X"
	if _, err := newClient(t, s).List(t.Context(), kind, "ns", ""); err == nil {
		t.Error("List of a kind that is not served: want an error")
	}
}
