package kube

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Subject is the user or the service account of a request to the API.
type Subject struct {
	User   string
	Groups []string
}

// ServiceAccount returns the subject that a pod's token of that account proves.
func ServiceAccount(namespace, name string) Subject {
	return Subject{
		User:   "system:serviceaccount:" + namespace + ":" + name,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
}

// Allowed asks the API server whether who may do what. It returns the reason that the
// server gives, which may be empty.
func (c *Client) Allowed(ctx context.Context, who Subject, what authorizationv1.ResourceAttributes) (allowed bool, reason string, err error) {
	review, err := c.Typed.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: who.User, Groups: who.Groups, ResourceAttributes: &what},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, "", fmt.Errorf("kube: asking whether %s may %s %s: %w", who.User, what.Verb, what.Resource, err)
	}
	// A "no" that comes with an error is none: a rule may not have been read.
	if s := review.Status; !s.Allowed && s.EvaluationError != "" {
		return false, s.Reason, fmt.Errorf("kube: whether %s may %s %s is not known: %s", who.User, what.Verb, what.Resource, s.EvaluationError)
	}
	return review.Status.Allowed, review.Status.Reason, nil
}

// DryRun has the API server judge objects as Apply would send them, admission
// included, and stores nothing. It returns all refusals. Their namespaces and
// kinds must be there already: nothing is waited for.
func (c *Client) DryRun(ctx context.Context, objects ...*unstructured.Unstructured) error {
	var errs []error
	for _, o := range ordered(objects) {
		resource, err := c.Resource(o)
		if err == nil {
			_, err = resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{
				FieldManager: FieldManager, Force: true, DryRun: []string{metav1.DryRunAll},
			})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("dry run of %s/%s: %w", o.GetKind(), o.GetName(), err))
		}
	}
	return errors.Join(errs...)
}

// ProxyGet gets a path, without a query, of a pod's HTTP port through the API
// server.
func (c *Client) ProxyGet(ctx context.Context, namespace, pod string, port int, path string) ([]byte, error) {
	out, err := c.Typed.CoreV1().Pods(namespace).ProxyGet("http", pod, strconv.Itoa(port), path, nil).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("kube: getting %s from port %d of %s: %w", path, port, pod, err)
	}
	return out, nil
}
