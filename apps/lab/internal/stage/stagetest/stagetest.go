// Package stagetest stands in for the cluster of a stage in tests that need none: it notes
// what is broken of it and mended.
package stagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Cluster is in the part of one with a worker.
type Cluster struct {
	cluster.Cluster
	// Lacks is why nothing can be killed or broken; empty means that all can.
	Lacks string
	// Denied are resources, such as "pods/portforward", on which nothing is allowed.
	Denied []string
	// MendErr is what mending fails with.
	MendErr error

	mu     sync.Mutex
	broken []cluster.FaultKind
}

// Environment returns one of these facts on the cluster.
func (c *Cluster) Environment(s runner.Strategy, facts *observe.Facts) *runner.Environment {
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
		asked := review.Spec.ResourceAttributes
		resource := asked.Resource
		if asked.Subresource != "" {
			resource += "/" + asked.Subresource
		}
		review.Status.Allowed = !slices.Contains(c.Denied, resource)
		return true, review, nil
	})
	return runner.NewEnvironment(s, c, &kube.Client{Typed: client}, facts)
}

// Broken returns what is broken now, in the order in which it was.
func (c *Cluster) Broken() []cluster.FaultKind {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.broken)
}

// Status implements cluster.Cluster.
func (*Cluster) Status() cluster.Status {
	return cluster.Status{Nodes: []cluster.NodeStatus{{Name: "node-1", ControlPlane: true}, {Name: "node-2"}}}
}

// CanKill implements cluster.Cluster.
func (c *Cluster) CanKill() error {
	if c.Lacks == "" {
		return nil
	}
	return fmt.Errorf("%s: %w", c.Lacks, errors.ErrUnsupported)
}

// Kill implements cluster.Cluster.
func (c *Cluster) Kill(context.Context, types.UID, string) error { return c.CanKill() }

// CanBreak implements cluster.Cluster.
func (c *Cluster) CanBreak(cluster.FaultKind) error { return c.CanKill() }

// Break implements cluster.Cluster.
func (c *Cluster) Break(_ context.Context, f cluster.Fault) (func(context.Context) error, error) {
	if err := c.CanBreak(f.Kind); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = append(c.broken, f.Kind)
	return func(context.Context) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.MendErr == nil {
			c.broken = slices.DeleteFunc(c.broken, func(kind cluster.FaultKind) bool { return kind == f.Kind })
		}
		return c.MendErr
	}, nil
}
