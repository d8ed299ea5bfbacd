package observe_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
)

// Only pods that are ready count: not those that end, though they may serve on,
// nor endpoints that are no pods. Ready is what the API means by saying nothing.
func TestReadyPods(t *testing.T) {
	yes, no := true, false
	pod := func(name string) *corev1.ObjectReference { return &corev1.ObjectReference{Kind: "Pod", Name: name} }
	got := observe.ReadyPods(&discoveryv1.EndpointSlice{Endpoints: []discoveryv1.Endpoint{
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
