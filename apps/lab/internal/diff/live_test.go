package diff_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/diff"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

// fakeCluster holds objects by kind and name. A dry run of one returns it with
// the default that everything here has, unless it is refused.
type fakeCluster struct {
	live    map[string]*unstructured.Unstructured
	refused map[string]error
	failed  map[string]error
	listed  string // the last namespace and selector
}

func newFake(live ...*unstructured.Unstructured) *fakeCluster {
	f := &fakeCluster{live: map[string]*unstructured.Unstructured{}}
	for _, o := range live {
		f.live[id(o)] = o
	}
	return f
}

func id(o *unstructured.Unstructured) string { return o.GetKind() + "/" + o.GetName() }

func (f *fakeCluster) Preview(_ context.Context, o *unstructured.Unstructured) (kube.Preview, error) {
	p := kube.Preview{Live: f.live[id(o)], Refused: f.refused[id(o)]}
	if p.Refused == nil {
		p.Result = defaulted(o)
	}
	return p, f.failed[id(o)]
}

func (f *fakeCluster) List(_ context.Context, kind schema.GroupVersionKind, namespace, selector string) ([]*unstructured.Unstructured, error) {
	f.listed = namespace + " " + selector
	var all []*unstructured.Unstructured
	for _, o := range f.live {
		if o.GroupVersionKind() == kind && o.GetNamespace() == namespace {
			all = append(all, o)
		}
	}
	return all, f.failed["List/"+kind.Kind]
}

// defaulted returns the object as an API server would store it.
func defaulted(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	o.SetUID("1")
	o.SetResourceVersion("2")
	o.SetGeneration(3)
	o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "m"}})
	o.Object["status"] = map[string]any{"ready": "yes"}
	_ = unstructured.SetNestedField(o.Object, "Default", "spec", "policy")
	return o
}

func all(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	var stored []*unstructured.Unstructured
	for _, o := range objects {
		stored = append(stored, defaulted(o))
	}
	return stored
}

func invalid(o, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
		Message: o + " is invalid: " + message,
	}}
}

// Against a cluster the defaults, the status and the bookkeeping of the API
// server are no difference; what this repository once applied is found, and a
// refusal for a field that cannot change is a flag.
func TestLive(t *testing.T) {
	const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n"
	const pruned = "pruned: it is no longer rendered: Argo CD deletes it, kubectl apply leaves it behind"
	newer := edit(t, configMap, "config-2222222222", "config-7777777777", "two", "three")
	owned := edit(t, configMap, "config-2222222222", "owned", "namespace: ns", "namespace: ns, ownerReferences: [{apiVersion: v1, kind: A, name: a, uid: x, controller: true}]")
	leaving := edit(t, configMap, "config-2222222222", "leaving", "namespace: ns", "namespace: ns, deletionTimestamp: '2026-01-01T00:00:00Z'")
	tests := []struct {
		name           string
		live, rendered []string
		refused        map[string]error
		change         diff.Change
		want           []string
	}{
		{
			name: "same", live: []string{namespace, deployment, configMap}, rendered: []string{namespace, deployment, configMap},
			change: diff.Unchanged,
		},
		{
			name: "changed", live: []string{namespace, deployment}, rendered: []string{namespace, edit(t, deployment, "web:1", "web:2")},
			change: diff.Changed, want: []string{"changed Deployment ns/web", "image: container web: web:1 becomes web:2"},
		},
		{
			name: "added", live: []string{namespace}, rendered: []string{namespace, service},
			change: diff.Changed, want: []string{"added Service ns/web"},
		},
		{
			name: "no_namespace", rendered: []string{namespace, service},
			refused: map[string]error{"Service/web": apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "ns")},
			change:  diff.Added, want: []string{"added Namespace ns", "added Service ns/web"},
		},
		{
			name: "pruned", live: []string{namespace, service, deployment, owned, leaving}, rendered: []string{namespace, deployment},
			change: diff.Changed, want: []string{"removed Service ns/web", pruned},
		},
		{
			name: "generation_of_a_config_map", live: []string{namespace, deployment, configMap},
			rendered: []string{namespace, edit(t, deployment, "config-2222222222", "config-7777777777"), newer},
			change:   diff.Changed, want: []string{"changed ConfigMap ns/config-7777777777"},
		},
		{
			name: "generations_of_a_config_map", live: []string{namespace, configMap, newer}, rendered: []string{namespace, newer},
			change: diff.Unchanged,
		},
		{
			name: "immutable", live: []string{namespace, edit(t, service, "None", "10.0.0.1")}, rendered: []string{namespace, service},
			refused: map[string]error{"Service/web": invalid("Service/web", "spec.clusterIPs[0]: may not change once set")},
			change:  diff.Changed,
			want:    []string{"changed Service ns/web", "immutable: spec.clusterIP cannot change from 10.0.0.1 to None: the API server refuses it until the Service is deleted"},
		},
		{
			name: "immutable_that_no_rule_knows", live: []string{namespace, service}, rendered: []string{namespace, edit(t, service, "80", "81")},
			refused: map[string]error{"Service/web": invalid("Service/web", "spec.x: field is immutable")},
			change:  diff.Changed,
			want:    []string{"changed Service ns/web", "immutable: the API server refuses it: Service/web is invalid: spec.x: field is immutable"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(all(decode(t, tt.live...))...)
			f.refused = tt.refused
			u, err := diff.Live(t.Context(), f, "x", decode(t, tt.rendered...))
			if err != nil {
				t.Fatal(err)
			}
			r := compare(t, u)
			if diff := cmp.Diff(tt.want, outline(r)); diff != "" {
				t.Errorf("objects and flags (-want +got):\n%s", diff)
			}
			if got := r.Overlays[0].Change; got != tt.change {
				t.Errorf("the overlay is %s, want %s", got, tt.change)
			}
			if tt.live != nil && f.listed != "ns app.kubernetes.io/part-of=grpc-lb" {
				t.Errorf("listed %q", f.listed)
			}
			for _, o := range r.Overlays[0].Objects {
				for _, noise := range []string{"uid", "resourceVersion", "generation", "managedFields", "status", "owned"} {
					if strings.Contains(o.Diff, noise+":") {
						t.Errorf("the difference shows %s:\n%s", noise, o.Diff)
					}
				}
				if o.Refused != "" && !strings.Contains(o.Diff, "\n+") {
					t.Errorf("what is refused is not shown:\n%s", o.Diff)
				}
			}
		})
	}
}

// What the cluster does not serve is skipped, for no difference; any other
// refusal, all of them, and what could not be asked is an error.
func TestLiveErrors(t *testing.T) {
	f := newFake()
	f.failed = map[string]error{"Deployment/web": &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "Deployment"}}}
	u, err := diff.Live(t.Context(), f, "x", decode(t, service, deployment))
	if err != nil {
		t.Fatal(err)
	}
	r := compare(t, u)
	if r.Differs() || r.Overlays[0].Change != diff.Skipped || r.Overlays[0].Reason != "the cluster does not serve Deployment of apps/v1" {
		t.Errorf("result: %+v", r)
	}

	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "web", errors.New("violates PodSecurity"))
	f = newFake(decode(t, service)...)
	f.refused = map[string]error{"Service/web": invalid("Service", "spec.x: Required value"), "Deployment/web": forbidden}
	_, err = diff.Live(t.Context(), f, "x", decode(t, service, deployment))
	for _, want := range []string{"x: the API server refuses Service/web: Service is invalid: spec.x: Required value", "x: the API server refuses Deployment/web: ", "violates PodSecurity"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q in it", err, want)
		}
	}

	namespace := decode(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n")
	f = newFake(namespace...)
	f.failed = map[string]error{"List/Role": errors.New("connection refused")}
	_, err = diff.Live(t.Context(), f, "x", namespace)
	rejected(t, err, "connection refused")
	f.failed = map[string]error{"Namespace/ns": errors.New("connection refused")}
	_, err = diff.Live(t.Context(), f, "x", namespace)
	rejected(t, err, "x: Namespace/ns: connection refused")
}
