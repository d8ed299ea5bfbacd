package experiment_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/experiment"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/overlay"
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
		{name: "left_by_the_lab", exists: true, annotations: map[string]string{experiment.MadeByLab: "1"}, wantGone: true},
		{name: "made_by_another", exists: true, wantErr: "kubectl delete namespace grpc-lb-l4"},
		{name: "empty_annotation", exists: true, annotations: map[string]string{experiment.MadeByLab: ""}, wantErr: "was not made by the lab"},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := fake.NewClientset()
			if test.exists {
				client = fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "grpc-lb-l4", Annotations: test.annotations}})
			}
			err := experiment.ClaimNamespace(t.Context(), client, "grpc-lb-l4")
			if (err == nil) != (test.wantErr == "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("error %v, want %q", err, test.wantErr)
			}
			if _, err := client.CoreV1().Namespaces().Get(t.Context(), "grpc-lb-l4", metav1.GetOptions{}); apierrors.IsNotFound(err) != test.wantGone {
				t.Errorf("looking for it gives %v, want gone %v", err, test.wantGone)
			}
		})
	}
}

// Only pods that are ready count: not those that end, though they may serve on,
// nor endpoints that are no pods. Ready is what the API means by saying nothing.
func TestReadyPods(t *testing.T) {
	yes, no := true, false
	pod := func(name string) *corev1.ObjectReference { return &corev1.ObjectReference{Kind: "Pod", Name: name} }
	got := experiment.ReadyPods(&discoveryv1.EndpointSlice{Endpoints: []discoveryv1.Endpoint{
		{Addresses: []string{"10.0.0.1"}, TargetRef: pod("ready"), Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
		{Addresses: []string{"10.0.0.2"}, TargetRef: pod("silent")},
		{Addresses: []string{"10.0.0.3"}, TargetRef: pod("ending"), Conditions: discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}},
		{Addresses: []string{"10.0.0.4"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
		{TargetRef: pod("without_address"), Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
	}})
	if diff := cmp.Diff(map[string]string{"ready": "10.0.0.1", "silent": "10.0.0.2"}, got); diff != "" {
		t.Errorf("ready pods (-want +got):\n%s", diff)
	}
}

// A probe is the overlay's own client with other arguments, and no selector or
// budget of any overlay counts it as one of its pods.
func TestProbeJobOfEveryOverlay(t *testing.T) {
	repository, err := overlay.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range experiment.Strategies {
		name := s.Name
		t.Run(name, func(t *testing.T) {
			rendered, err := repository.Render(name)
			if err != nil {
				t.Fatal(err)
			}
			objects, err := overlay.Decode(rendered)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range objects {
				client, ok := o.(*appsv1.Deployment)
				if !ok || client.Name != "echo-client" {
					continue
				}
				job := experiment.ProbeJob("resolve-1", client.Spec.Template, []string{"resolve"})
				pod := job.Spec.Template
				if diff := cmp.Diff([]string{"resolve"}, pod.Spec.Containers[0].Args); diff != "" {
					t.Errorf("args (-want +got):\n%s", diff)
				}
				if pod.Spec.Containers[0].Image != client.Spec.Template.Spec.Containers[0].Image || pod.Spec.SecurityContext == nil {
					t.Error("the probe is not the client's pod, want its image and its security context")
				}
				for _, other := range objects {
					var selector *metav1.LabelSelector
					switch o := other.(type) {
					case *appsv1.Deployment:
						selector = o.Spec.Selector
					case *corev1.Service:
						selector = &metav1.LabelSelector{MatchLabels: o.Spec.Selector}
					default:
						continue
					}
					s, err := metav1.LabelSelectorAsSelector(selector)
					if err != nil {
						t.Fatal(err)
					}
					if s.Matches(labels.Set(pod.Labels)) {
						t.Errorf("the selector of %s %s matches the probe", other.GetObjectKind().GroupVersionKind().Kind, other.GetName())
					}
				}
			}
		})
	}
}

// Every overlay on disk and every variant is a strategy of the lab, and the other
// way round.
func TestStrategiesAreOverlays(t *testing.T) {
	repository, err := overlay.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	names, err := repository.All()
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	for _, s := range experiment.Strategies {
		declared[s.Name] = true
	}
	onDisk := map[string]bool{}
	for _, name := range names {
		onDisk[name] = true
	}
	if diff := cmp.Diff(onDisk, declared); diff != "" {
		t.Errorf("strategies (-overlays +declared):\n%s", diff)
	}
}

// No overlay carries the mark by which the lab knows its own namespaces.
func TestOverlaysDoNotCarryTheMark(t *testing.T) {
	repository, err := overlay.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range experiment.Strategies {
		rendered, err := repository.Render(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(rendered), experiment.MadeByLab) {
			t.Errorf("overlay %s contains %s", s.Name, experiment.MadeByLab)
		}
	}
}
