package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Preview is what applying an object would do to it.
type Preview struct {
	Live    *unstructured.Unstructured // as it is, or nil if it is not there
	Result  *unstructured.Unstructured // as it would be, or nil if the API server refuses
	Refused error                      // why
}

// Preview has the API server apply an object without storing it, as the
// manager that applied the live one: a field that is no longer there is removed only
// from what its manager sends. An error is one of asking; a kind that is not
// served is a NoMatchError.
func (c *Client) Preview(ctx context.Context, o *unstructured.Unstructured) (Preview, error) {
	resource, err := c.Resource(o)
	if err != nil {
		return Preview{}, err
	}
	live, err := resource.Get(ctx, o.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		live = nil
	case err != nil:
		return Preview{}, fmt.Errorf("kube: getting %s/%s: %w", o.GetKind(), o.GetName(), err)
	}
	result, err := resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{
		FieldManager: applier(live), Force: true, DryRun: []string{metav1.DryRunAll},
	})
	switch status := apierrors.APIStatus(nil); {
	case err == nil:
		return Preview{Live: live, Result: result}, nil
	case errors.As(err, &status):
		return Preview{Live: live, Refused: err}, nil
	}
	return Preview{}, fmt.Errorf("kube: dry run of %s/%s: %w", o.GetKind(), o.GetName(), err)
}

// applier returns who applied a live object: the lab, or else the one that did.
func applier(live *unstructured.Unstructured) string {
	if live == nil {
		return FieldManager
	}
	manager := ""
	for _, m := range live.GetManagedFields() {
		if m.Operation != metav1.ManagedFieldsOperationApply || m.Subresource != "" {
			continue
		}
		if manager != "" || m.Manager == FieldManager {
			return FieldManager
		}
		manager = m.Manager
	}
	return cmp.Or(manager, FieldManager)
}

// List returns the objects of a kind in a namespace that a label selector takes.
func (c *Client) List(ctx context.Context, kind schema.GroupVersionKind, namespace, selector string) ([]*unstructured.Unstructured, error) {
	of := &unstructured.Unstructured{}
	of.SetGroupVersionKind(kind)
	of.SetNamespace(namespace)
	resource, err := c.Resource(of)
	if err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	list, err := resource.List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("kube: listing %s in %s: %w", kind.Kind, namespace, err)
	}
	var all []*unstructured.Unstructured
	for i := range list.Items {
		list.Items[i].SetGroupVersionKind(kind) // items of typed lists lack it
		all = append(all, &list.Items[i])
	}
	return all, nil
}
