// Package provider is the one interface between the lab and the kinds of clusters that
// it can boot. Package registry lists them.
package provider

import (
	"context"
	"errors"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
)

// Kind is a kind of cluster and what it can do that others cannot.
type Kind struct {
	// Name is a value of --cluster.
	Name string
	// Needs is what the machine must have, as a sentence that follows "if", such as
	// "Docker is running". It is empty for the last resort.
	Needs string
	// NodeImages says that its nodes are images, and that Options.NodeImage names one.
	NodeImages bool
	// Usage says that the counters of its containers can be read.
	Usage bool
}

// ErrNoImage says that the image of a node cannot be had.
var ErrNoImage = errors.New("the node's image cannot be had")

// Provider makes clusters of one kind: one for each checkout.
type Provider interface {
	// Kind is the same for all checkouts.
	Kind() Kind
	// Check returns why this machine cannot have such a cluster, soon, and what to
	// do about it.
	Check(ctx context.Context) error
	// Architecture returns that of the nodes, such as arm64.
	Architecture(ctx context.Context) (string, error)
	// Find returns the checkout's cluster that is up, or nil.
	Find(ctx context.Context) (cluster.Cluster, error)
	// Components lists what Up builds.
	Components() []component.Component
	// Steps counts the steps that Up reports.
	Steps(o Options) int
	// Up boots a cluster. When it fails it leaves nothing. The caller holds the
	// checkout's lock, here and at Down. The error wraps ErrNoImage where another
	// kind of cluster would do.
	Up(ctx context.Context, o Options) (cluster.Cluster, error)
	// Down removes the checkout's cluster, running or not, and all that is left of it.
	Down(ctx context.Context) error
	// Elsewhere says how to reach a cluster of this checkout that is another user's;
	// it is empty where there is none.
	Elsewhere() string
	// Left names what is left of a cluster that is not up.
	Left(ctx context.Context) ([]string, error)
}

// Options say which cluster is wanted.
type Options struct {
	// Builder builds the components that the cluster is made of.
	Builder component.Builder
	Nodes   int
	// APIPort is the port of the loopback at which the API answers; 0 takes a free one.
	APIPort int
	// NodeImage is the image of the nodes, for kinds that have one; empty takes the usual one.
	NodeImage string
	// Patience stretches what booting may take; 0 takes what a quick measurement of
	// the machine says.
	Patience float64
	// Detached clusters outlive the program; others need not.
	Detached bool
	// Builds are components that will be built later: they need space too.
	Builds   []component.Component
	Progress progress.Reporter
}
