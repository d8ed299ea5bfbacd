package diff

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

// Cluster is what a comparison asks of a cluster; [kube.Client] is one.
type Cluster interface {
	Preview(ctx context.Context, o *unstructured.Unstructured) (kube.Preview, error)
	List(ctx context.Context, kind schema.GroupVersionKind, namespace, selector string) ([]*unstructured.Unstructured, error)
}

var _ Cluster = (*kube.Client)(nil)

// partOf selects what the overlays of this repository render.
const partOf = "app.kubernetes.io/part-of=grpc-lb"

// prunable are the kinds among which an overlay's namespace is searched for what
// is no longer rendered.
var prunable = []schema.GroupVersionKind{
	{Version: "v1", Kind: "ConfigMap"},
	{Version: "v1", Kind: "Secret"},
	{Version: "v1", Kind: "Service"},
	{Version: "v1", Kind: "ServiceAccount"},
	{Group: "apps", Version: "v1", Kind: "DaemonSet"},
	{Group: "apps", Version: "v1", Kind: "Deployment"},
	{Group: "apps", Version: "v1", Kind: "StatefulSet"},
	{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
	{Group: rbacGroup, Version: "v1", Kind: "Role"},
	{Group: rbacGroup, Version: "v1", Kind: "RoleBinding"},
}

// Live returns what a server-side apply of the rendered objects would change.
// An object whose namespace does not exist is compared as rendered, without the
// API's defaults. Refusals for another reason than a
// field that cannot change are errors.
func Live(ctx context.Context, cluster Cluster, name string, rendered []*unstructured.Unstructured) (Unit, error) {
	u := Unit{Name: name, Refused: map[*unstructured.Unstructured]string{}}
	var refused []error
	for _, o := range rendered {
		p, err := cluster.Preview(ctx, o)
		if meta.IsNoMatchError(err) {
			return Unit{Name: name, Change: Skipped, Reason: fmt.Sprintf("the cluster does not serve %s of %s", o.GetKind(), o.GetAPIVersion())}, nil
		}
		if err != nil {
			return u, fmt.Errorf("%s: %s/%s: %w", name, o.GetKind(), o.GetName(), err)
		}
		if p.Live != nil {
			u.Before = append(u.Before, p.Live)
		}
		after := p.Result
		switch {
		case p.Refused == nil:
		case p.Live == nil && apierrors.IsNotFound(p.Refused): // its namespace is not there
			after = o
		case p.Live != nil && apierrors.IsInvalid(p.Refused) && immutableBy.MatchString(p.Refused.Error()):
			after = &unstructured.Unstructured{Object: merged(p.Live.DeepCopy().Object, o.Object)}
			u.Refused[after] = p.Refused.Error()
		default:
			refused = append(refused, fmt.Errorf("%s: the API server refuses %s/%s: %w", name, o.GetKind(), o.GetName(), p.Refused))
			continue
		}
		u.After = append(u.After, after)
	}
	if len(refused) > 0 {
		return u, errors.Join(refused...)
	}
	if len(u.Before) == 0 {
		u.Change = Added
		return u, nil
	}
	left, err := leftover(ctx, cluster, rendered, u.Before)
	u.Before = append(u.Before, left...)
	return u, err
}

// leftover returns the objects in the overlay's namespace that an earlier rendering of
// this repository had and this one has not. An object that another one owns is deleted
// with its owner.
func leftover(ctx context.Context, cluster Cluster, rendered, found []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	i := slices.IndexFunc(rendered, func(o *unstructured.Unstructured) bool {
		return o.GroupVersionKind().GroupKind() == schema.GroupKind{Kind: "Namespace"}
	})
	if i < 0 {
		return nil, nil
	}
	var left []*unstructured.Unstructured
	for _, kind := range prunable {
		objects, err := cluster.List(ctx, kind, rendered[i].GetName(), partOf)
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			known := slices.ContainsFunc(found, func(f *unstructured.Unstructured) bool { return keyOf(f) == keyOf(o) })
			if !known && metav1.GetControllerOf(o) == nil && o.GetDeletionTimestamp() == nil {
				left = append(left, o)
			}
		}
	}
	return left, nil
}

// merged lays the fields of one object over another's. It stands in for the dry
// run of what the API server refuses.
func merged(under, over map[string]any) map[string]any {
	for name, value := range over {
		below, isMap := value.(map[string]any)
		there, wasMap := under[name].(map[string]any)
		if isMap && wasMap {
			merged(there, below)
			continue
		}
		under[name] = value
	}
	return under
}
