package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// Serves tells whether the API server serves a group version such as apps/v1, with these
// kinds.
func (c *Client) Serves(groupVersion string, kinds ...string) (bool, error) {
	served, err := c.Typed.Discovery().ServerResourcesForGroupVersion(groupVersion)
	if apierrors.IsNotFound(err) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("asking whether the cluster serves %s: %w", groupVersion, err)
	}
	for _, kind := range kinds {
		if !slices.ContainsFunc(served.APIResources, func(r metav1.APIResource) bool { return r.Kind == kind }) {
			return false, nil
		}
	}
	return true, nil
}

// AwaitServed returns when the API server serves a group version with these kinds: it learns
// of them a little later than they are applied.
func (c *Client) AwaitServed(ctx context.Context, groupVersion string, kinds ...string) error {
	err := poll.Until(ctx, 200*time.Millisecond, func(context.Context) (string, error) {
		if served, err := c.Serves(groupVersion, kinds...); err != nil {
			return err.Error(), nil
		} else if !served {
			return "the API server does not serve it", nil
		}
		return "", nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", groupVersion, err)
	}
	return nil
}
