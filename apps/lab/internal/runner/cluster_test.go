package runner_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// The lab takes a name that is free, deletes what an earlier run left, and
// refuses what somebody else made. The fake stands in for an API server.
func TestClaimNamespace(t *testing.T) {
	for _, test := range []struct {
		name        string
		exists      bool
		annotations map[string]string
		wantErr     string
		wantGone    bool
	}{
		{name: "free", wantGone: true},
		{name: "left_by_the_lab", exists: true, annotations: map[string]string{runner.MadeByLab: "1"}, wantGone: true},
		{name: "made_by_another", exists: true, wantErr: "kubectl delete namespace grpc-lb-l4"},
		{name: "empty_annotation", exists: true, annotations: map[string]string{runner.MadeByLab: ""}, wantErr: "was not made by the lab"},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := fake.NewClientset()
			if test.exists {
				client = fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "grpc-lb-l4", Annotations: test.annotations}})
			}
			err := runner.ClaimNamespace(t.Context(), client, "grpc-lb-l4")
			if (err == nil) != (test.wantErr == "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("error %v, want %q", err, test.wantErr)
			}
			if _, err := client.CoreV1().Namespaces().Get(t.Context(), "grpc-lb-l4", metav1.GetOptions{}); apierrors.IsNotFound(err) != test.wantGone {
				t.Errorf("looking for it gives %v, want gone %v", err, test.wantGone)
			}
		})
	}
}

// deployer notes for which strategies it was told to let changes stand.
type deployer struct {
	runner.Deployer
	released []string
}

func (d *deployer) Release(_ context.Context, strategy string) error {
	d.released = append(d.released, strategy)
	return nil
}

// A namespace is deleted once its deployer would not bring it back. The fake
// stands in for an API server.
func TestCleanUpReleases(t *testing.T) {
	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "grpc-lb-l4"}})
	d, deletions := &deployer{}, 0
	client.PrependReactor("delete", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
		deletions++
		if diff := cmp.Diff([]string{"l4"}, d.released); diff != "" {
			t.Errorf("released before the deletion (-want +got):\n%s", diff)
		}
		return false, nil, nil
	})
	runner.CleanUp(t.Context(), runner.Config{Deployer: d}, &kube.Client{Typed: client})
	if deletions != 1 {
		t.Errorf("%d deletions of the namespace, want one", deletions)
	}
}

// A probe is the overlay's own client with other arguments, and no selector or
// budget of any overlay counts it as one of its pods.
func TestProbeJobOfEveryOverlay(t *testing.T) {
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range strategy.All() {
		name := s.Name
		t.Run(name, func(t *testing.T) {
			rendered, err := repository.Render(name)
			if err != nil {
				t.Fatal(err)
			}
			objects, err := manifest.Decode(rendered)
			if err != nil {
				t.Fatal(err)
			}
			client, ok := manifest.Component(objects, manifest.Client)
			if !ok {
				t.Fatalf("the overlay has no Deployment labelled %s: %s", manifest.ComponentLabel, manifest.Client)
			}
			job := runner.JobOf(runner.ClientJob{Name: "resolve-1", Args: []string{"resolve"}}, client.Spec.Template)
			pod := job.Spec.Template
			if diff := cmp.Diff([]string{"resolve"}, pod.Spec.Containers[0].Args); diff != "" {
				t.Errorf("args (-want +got):\n%s", diff)
			}
			if pod.Spec.Containers[0].Image != client.Spec.Template.Spec.Containers[0].Image || pod.Spec.SecurityContext == nil {
				t.Error("the probe is not the client's pod, want its image and its security context")
			}
			selectors := 0
			for _, other := range objects {
				var selector *metav1.LabelSelector
				switch o := other.(type) {
				case *appsv1.Deployment:
					selector = o.Spec.Selector
				case *policyv1.PodDisruptionBudget:
					selector = o.Spec.Selector
				case *corev1.Service:
					selector = &metav1.LabelSelector{MatchLabels: o.Spec.Selector}
				default:
					continue
				}
				selectors++
				s, err := metav1.LabelSelectorAsSelector(selector)
				if err != nil {
					t.Fatal(err)
				}
				if s.Matches(labels.Set(pod.Labels)) {
					t.Errorf("the selector of %s matches the probe", manifest.Describe(other))
				}
			}
			if selectors < 4 {
				t.Errorf("%d selectors, want those of two Deployments, a Service and a budget at least", selectors)
			}
		})
	}
}

// A part is found by its label, and refused where its container could not be.
func TestComponent(t *testing.T) {
	for _, test := range []struct{ name, label, container, want string }{
		{name: "labelled", label: manifest.Server, container: "till"},
		{name: "another_part", label: manifest.Client, container: "till", want: "no Deployment labelled app.kubernetes.io/component: server"},
		{name: "another_container", label: manifest.Server, container: "shop", want: "first container of Deployment/till has another name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			objects, err := manifest.Unstructured([]byte("kind: Deployment\nmetadata: {name: till, labels: {app.kubernetes.io/component: " + test.label + "}}\nspec: {replicas: 3, template: {spec: {containers: [{name: " + test.container + "}]}}}\n"))
			if err != nil {
				t.Fatal(err)
			}
			found, err := runner.Component(objects, manifest.Server)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if err == nil && found.Name != "till" {
				t.Errorf("found %s, want till", found.Name)
			}
		})
	}
}
