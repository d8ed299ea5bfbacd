// Package kube does to a Kubernetes, of any kind, what takes more than one call
// of its API: apply and delete what was rendered, wait, and run a command in a pod.
package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// FieldManager owns the fields that the lab applies.
const FieldManager = "grpc-lb-lab"

// interval is the time between two questions about an object.
const interval = 100 * time.Millisecond

// MadeByLab is the annotation of namespaces that the lab made and may delete.
const MadeByLab = "lab.grpc-lb.dev/made"

// Client talks to one cluster.
type Client struct {
	Typed   kubernetes.Interface
	Dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
	config  *rest.Config
}

// New returns a client that sets itself no limit of requests: the lab is one
// user on a cluster of its own.
func New(config *rest.Config) (*Client, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{} // they are for the authors of manifests
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(typed.Discovery()))
	return &Client{Typed: typed, Dynamic: objects, mapper: mapper, config: config}, nil
}

// Resource returns the API's collection that holds such objects.
func (c *Client) Resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := o.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) { // it may have been defined since
		c.mapper.Reset()
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return c.Dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace()), nil
	}
	return c.Dynamic.Resource(mapping.Resource), nil
}

// Apply applies objects server-side: first what others need, last what makes
// pods. It waits until kinds that are defined here are served.
func (c *Client) Apply(ctx context.Context, objects ...*unstructured.Unstructured) error {
	for _, o := range ordered(objects) {
		if err := c.apply(ctx, o); err != nil {
			return fmt.Errorf("applying %s/%s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

func (c *Client) apply(ctx context.Context, o *unstructured.Unstructured) error {
	for {
		resource, err := c.Resource(o)
		if err == nil {
			_, err = resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: FieldManager, Force: true})
		}
		// A kind is not served for a moment after its definition.
		unserved := meta.IsNoMatchError(err) || apierrors.IsNotFound(err) && o.GetNamespace() == ""
		if !unserved {
			return err
		}
		if err := poll.Sleep(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("the API does not serve %s: %w", o.GroupVersionKind(), err)
		}
	}
}

// Delete deletes objects and returns when they are gone. Objects that others need
// come last. An object that is not there counts as deleted.
func (c *Client) Delete(ctx context.Context, objects ...*unstructured.Unstructured) error {
	var errs []error
	deleted := map[*unstructured.Unstructured]dynamic.ResourceInterface{}
	for _, o := range slices.Backward(ordered(objects)) {
		resource, err := c.Resource(o)
		if err == nil {
			deleted[o] = resource
			err = resource.Delete(ctx, o.GetName(), metav1.DeleteOptions{})
		}
		if err != nil && !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
			errs = append(errs, fmt.Errorf("deleting %s/%s: %w", o.GetKind(), o.GetName(), err))
		}
	}
	for o, resource := range deleted {
		if err := gone(ctx, resource, o.GetName()); err != nil {
			errs = append(errs, fmt.Errorf("%s/%s is still being deleted: %w", o.GetKind(), o.GetName(), err))
		}
	}
	return errors.Join(errs...)
}

// gone returns when the object is not there; what cannot be asked for, because
// its kind is gone too, is not.
func gone(ctx context.Context, resource dynamic.ResourceInterface, name string) error {
	return poll.Until(ctx, interval, func(ctx context.Context) (string, error) {
		_, err := resource.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		return name + " is still there", nil
	})
}

func ordered(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return cmp.Compare(rank(a), rank(b)) })
	return objects
}

func rank(o *unstructured.Unstructured) int {
	switch group := o.GroupVersionKind().Group; {
	case o.GetKind() == "Namespace", o.GetKind() == "CustomResourceDefinition":
		return 0
	case group == "apps", group == "batch":
		return 2
	case group == "admissionregistration.k8s.io":
		return 3 // it would refuse what it judges until its server runs
	case group == "apiregistration.k8s.io":
		return 3 // no namespace can be deleted while an API has no server
	default:
		return 1
	}
}

// Available waits until a Deployment's newest generation has all its replicas
// available, or until the context ends.
func (c *Client) Available(ctx context.Context, namespace, name string) error {
	err := poll.Until(ctx, interval, func(ctx context.Context) (string, error) {
		d, err := c.Typed.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "it is not there", nil
		} else if err != nil {
			return "", err
		}
		want := *d.Spec.Replicas
		if d.Status.ObservedGeneration == d.Generation && d.Status.UpdatedReplicas == want && d.Status.Replicas == want && d.Status.AvailableReplicas == want {
			return "", nil
		}
		return fmt.Sprintf("%d of %d replicas are available", d.Status.AvailableReplicas, want), nil
	})
	if err != nil {
		return fmt.Errorf("deployment %s: %w", name, err)
	}
	return nil
}

// Pod returns the name of the one ready pod with those labels.
func (c *Client) Pod(ctx context.Context, namespace, selector string) (string, error) {
	pods, err := c.Typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return "", err
	}
	for _, p := range pods.Items {
		ready := slices.ContainsFunc(p.Status.Conditions, func(s corev1.PodCondition) bool {
			return s.Type == corev1.PodReady && s.Status == corev1.ConditionTrue
		})
		if ready && p.DeletionTimestamp == nil {
			return p.Name, nil
		}
	}
	return "", fmt.Errorf("none of %d pods %s in %s is ready", len(pods.Items), selector, namespace)
}
