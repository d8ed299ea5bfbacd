package runner_test

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Where policies could not be put in force, nothing else is measured, and the strategy is not
// run for that reason: a claim must not be proven without them.
func TestPoliciesComeFirst(t *testing.T) {
	why := observe.Reason{Kind: observe.Lacking, Text: "this cluster does not enforce NetworkPolicies"}
	made := 0
	err := runner.MeasureUnderPolicies(t.Context(), why, func() { made++ })
	if got, ok := errors.AsType[observe.Reason](err); !ok || got != why || made != 0 {
		t.Errorf("error %v, and %d others were made: want %v and none", err, made, why)
	}
	if err := runner.MeasureUnderPolicies(t.Context(), nil, func() { made++ }); err != nil || made != 1 {
		t.Errorf("error %v, and %d others were made: want none and one", err, made)
	}
}

// The namespace beside a strategy's is the lab's, is there meanwhile, and goes also after an
// error; one that the lab did not make is refused and stays.
func TestBeside(t *testing.T) {
	const name = "grpc-lb-l4-neighbour"
	env := func(objects ...*corev1.Namespace) (*runner.Environment, *fake.Clientset) {
		api := fake.NewClientset()
		for _, o := range objects {
			if err := api.Tracker().Add(o); err != nil {
				t.Fatal(err)
			}
		}
		return runner.NewEnvironment(runner.Strategy{Name: "l4"}, nil, &kube.Client{Typed: api}, observe.NewFacts(observe.Subject{Strategy: "l4", Namespace: "grpc-lb-l4"})), api
	}
	get := func(api *fake.Clientset) (*corev1.Namespace, error) {
		return api.CoreV1().Namespaces().Get(context.Background(), name, metav1.GetOptions{})
	}
	wrong := errors.New("wrong")
	e, api := env()
	err := e.Beside(t.Context(), func(namespace string) error {
		ns, err := get(api)
		if namespace != name || err != nil || ns.Annotations[runner.MadeByLab] == "" {
			t.Errorf("namespace %q is %v, error %v: want %s, made by the lab", namespace, ns, err, name)
		}
		return wrong
	})
	if _, gone := get(api); !errors.Is(err, wrong) || !apierrors.IsNotFound(gone) {
		t.Errorf("error %v, namespace afterwards: %v: want %v and none", err, gone, wrong)
	}
	e, api = env(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	err = e.Beside(t.Context(), func(string) error {
		t.Error("somebody else's namespace is used")
		return nil
	})
	if _, there := get(api); err == nil || there != nil {
		t.Errorf("error %v, looking for the namespace: %v: want one that refuses it, and it there", err, there)
	}
}
