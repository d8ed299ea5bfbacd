package kube_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

var someRights = []kube.Right{
	{Verb: "list", Resource: "nodes"},
	{Verb: "create", Group: "apps", Resource: "deployments", Namespace: "b"},
	{Verb: "patch", Group: "apps", Resource: "deployments", Namespace: "b"},
	{Verb: "patch", Group: "apps", Resource: "deployments", Namespace: "a"},
	{Verb: "create", Group: "apps", Resource: "deployments", Namespace: "a"},
	{Verb: "create", Group: "apps", Resource: "deployments", Namespace: "a"}, // twice
	{Verb: "get", Resource: "pods/log", Namespace: "a"},
	{Verb: "delete", Resource: "namespaces", Name: "a"},
	{Verb: "delete", Resource: "namespaces", Name: "b"},
	{Verb: "patch", Group: "apps", Resource: "deployments/scale", Namespace: "a"},
}

// What is alike is said once, with all the places.
func TestDescribe(t *testing.T) {
	want := "create, patch deployments.apps in namespaces a, b; delete namespaces a, b; get pods/log in namespace a; list nodes; patch deployments.apps/scale in namespace a"
	if got := kube.Describe(someRights...); got != want {
		t.Errorf("Describe =\n%s, want\n%s", got, want)
	}
}

// The role has just those rights, names where only names are meant, and joins
// resources that are alike.
func TestClusterRole(t *testing.T) {
	rights := append([]kube.Right{{Verb: "list", Resource: "events", Namespace: "a"}}, someRights...)
	want := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"events", "nodes"}, Verbs: []string{"list"}},
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"delete"}, ResourceNames: []string{"a", "b"}},
		{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []string{"get"}},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"create", "patch"}},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments/scale"}, Verbs: []string{"patch"}},
	}
	if diff := cmp.Diff(want, kube.ClusterRole("lab", rights...).Rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

// Each right is asked for once, whole, and those refused are returned. The fake
// stands in for an API server.
func TestMissing(t *testing.T) {
	asked := make(chan authorizationv1.ResourceAttributes, 2*len(someRights))
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
		asked <- *review.Spec.ResourceAttributes
		review.Status.Allowed = review.Spec.ResourceAttributes.Resource != "pods"
		return true, review, nil
	})
	missing, err := (&kube.Client{Typed: client}).Missing(t.Context(), someRights...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]kube.Right{{Verb: "get", Resource: "pods/log", Namespace: "a"}}, missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	close(asked)
	n, scaled := 0, false
	for a := range asked {
		n++
		scaled = scaled || a == authorizationv1.ResourceAttributes{Namespace: "a", Verb: "patch", Group: "apps", Resource: "deployments", Subresource: "scale"}
	}
	if n != len(someRights)-1 || !scaled {
		t.Errorf("%d questions, the one about deployments/scale whole: %v; want %d, true", n, scaled, len(someRights)-1)
	}
}

// What the API server does not answer is not missing.
func TestMissingUnanswered(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectaccessreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("no answer")
	})
	if _, err := (&kube.Client{Typed: client}).Missing(t.Context(), someRights[0]); err == nil || !strings.Contains(err.Error(), "list nodes: no answer") {
		t.Errorf("Missing = %v, want an error that names what was asked", err)
	}
}
