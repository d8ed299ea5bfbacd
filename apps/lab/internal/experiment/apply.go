package experiment

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// FieldManager owns the fields that the lab applies.
const FieldManager = "grpc-lb-lab"

// apply applies a rendering server-side: its Namespace first, marked as the
// lab's, and what makes pods last, so that accounts and roles are there.
func apply(ctx context.Context, client dynamic.Interface, mapper meta.RESTMapper, objects []*unstructured.Unstructured, run string) error {
	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return rank(a) - rank(b) })
	for _, object := range objects {
		kind := object.GroupVersionKind()
		mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			return fmt.Errorf("applying %s/%s: %w", kind.Kind, object.GetName(), err)
		}
		var resource dynamic.ResourceInterface = client.Resource(mapping.Resource)
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			resource = client.Resource(mapping.Resource).Namespace(object.GetNamespace())
		}
		if kind.Kind == "Namespace" {
			object = object.DeepCopy()
			annotations := object.GetAnnotations()
			if annotations == nil {
				annotations = map[string]string{}
			}
			annotations[MadeByLab] = run
			object.SetAnnotations(annotations)
		}
		if _, err := resource.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: FieldManager, Force: true}); err != nil {
			return fmt.Errorf("applying %s/%s: %w", kind.Kind, object.GetName(), err)
		}
	}
	return nil
}

func rank(o *unstructured.Unstructured) int {
	switch {
	case o.GetKind() == "Namespace":
		return 0
	case o.GroupVersionKind().Group == "apps" || o.GroupVersionKind().Group == "batch":
		return 2
	default:
		return 1
	}
}

// deployment reads the named Deployment out of a rendering.
func deployment(objects []*unstructured.Unstructured, name string) (*appsv1.Deployment, error) {
	for _, o := range objects {
		if o.GetKind() == "Deployment" && o.GetName() == name {
			typed := &appsv1.Deployment{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, typed); err != nil {
				return nil, fmt.Errorf("reading deployment %s: %w", name, err)
			}
			if typed.Spec.Replicas == nil {
				return nil, fmt.Errorf("deployment %s does not say how many replicas it wants", name)
			}
			return typed, nil
		}
	}
	return nil, fmt.Errorf("the rendering has no Deployment/%s", name)
}

// scale sets a Deployment's replicas as kubectl scale does.
func (a *arena) scale(ctx context.Context, name string, replicas int) error {
	a.note("scale %s to %d", name, replicas)
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	_, err := a.client.AppsV1().Deployments(a.facts.Namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager}, "scale")
	if err != nil {
		return fmt.Errorf("scaling %s to %d: %w", name, replicas, err)
	}
	return nil
}

func (a *arena) deletePod(ctx context.Context, name string) error {
	a.note("delete pod %s", name)
	if err := a.client.CoreV1().Pods(a.facts.Namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting pod %s: %w", name, err)
	}
	return nil
}
