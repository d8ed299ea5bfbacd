package kube_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

// What others need comes first, what makes pods late, and last what fails before its
// server runs: webhooks and APIs of others; else the order stays.
func TestOrdered(t *testing.T) {
	var objects []*unstructured.Unstructured
	for _, o := range [][2]string{
		{"admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"}, {"apiregistration.k8s.io/v1", "APIService"}, {"apps/v1", "Deployment"}, {"v1", "Service"}, {"batch/v1", "Job"},
		{"v1", "ConfigMap"}, {"apiextensions.k8s.io/v1", "CustomResourceDefinition"}, {"v1", "Namespace"},
	} {
		objects = append(objects, &unstructured.Unstructured{Object: map[string]any{"apiVersion": o[0], "kind": o[1]}})
	}
	var got []string
	for _, o := range kube.Ordered(objects) {
		got = append(got, o.GetKind())
	}
	want := []string{"CustomResourceDefinition", "Namespace", "Service", "ConfigMap", "Deployment", "Job", "MutatingWebhookConfiguration", "APIService"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if objects[0].GetKind() != "MutatingWebhookConfiguration" {
		t.Error("the caller's slice was sorted")
	}
}
