package runner

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// FieldManager owns the fields that the lab changes.
const FieldManager = kube.FieldManager

// component reads the Deployment that plays the part out of a rendering.
func component(objects []*unstructured.Unstructured, part string) (*appsv1.Deployment, error) {
	for _, o := range objects {
		if o.GetKind() == "Deployment" && o.GetLabels()[manifest.ComponentLabel] == part {
			d, err := deployment(objects, o.GetName())
			if err == nil && containerOf(d.Spec.Template.Spec, d.Name) != 0 {
				err = fmt.Errorf("the first container of Deployment/%s has another name", d.Name)
			}
			return d, err
		}
	}
	return nil, fmt.Errorf("the rendering has no Deployment labelled %s: %s", manifest.ComponentLabel, part)
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

// Scale sets the replicas of one of the overlay's Deployments.
func (env *Environment) Scale(ctx context.Context, name string, replicas int) error {
	return env.ScaleIn(ctx, env.Namespace, name, replicas)
}

// ScaleIn sets a Deployment's replicas as kubectl scale does.
func (env *Environment) ScaleIn(ctx context.Context, namespace, name string, replicas int) error {
	env.Note("scale %s to %d", name, replicas)
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	_, err := env.Kube.Typed.AppsV1().Deployments(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager}, "scale")
	if err != nil {
		return fmt.Errorf("scaling %s to %d: %w", name, replicas, err)
	}
	return nil
}

// DeletePod deletes one pod, as `kubectl delete pod` does.
func (env *Environment) DeletePod(ctx context.Context, name string) error {
	env.Note("delete pod %s", name)
	if err := env.Kube.Typed.CoreV1().Pods(env.Namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting pod %s: %w", name, err)
	}
	return nil
}
