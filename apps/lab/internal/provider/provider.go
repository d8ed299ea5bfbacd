// Package provider makes clusters of every kind that the lab can boot, behind one
// interface: the built-in one and kind's.
package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
)

// The kinds of clusters: the values of --cluster.
const (
	Builtin = "builtin"
	Kind    = "kind"
)

// Names lists the kinds, the one first that is preferred where both can be had.
var Names = []string{Kind, Builtin}

// ErrNoImage says that the image of a node cannot be had.
var ErrNoImage = errors.New("the node's image cannot be had")

// Provider makes clusters of one kind: one for each checkout.
type Provider interface {
	// Name is one of Names.
	Name() string
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
	// NodeImage is the image of a kind node; empty takes kind's own.
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

// Set is the checkout's providers, in the order of Names.
type Set []Provider

// All returns the providers of the checkout at root.
func All(d dirs.Dirs, root string) Set {
	return Set{kindProvider{d}, builtinProvider{d, root}}
}

// Named returns a provider.
func (s Set) Named(name string) (Provider, error) {
	for _, p := range s {
		if p.Name() == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%q is no kind of cluster: expected one of %s", name, strings.Join(Names, ", "))
}

// Find returns the checkout's cluster that is up and its provider, or nil.
func (s Set) Find(ctx context.Context) (Provider, cluster.Cluster, error) {
	for _, p := range s {
		if on, err := p.Find(ctx); on != nil || err != nil {
			return p, on, err
		}
	}
	return nil, nil, nil
}

// Choose returns the provider that was asked for, or without a name the first that
// this machine can have.
func (s Set) Choose(ctx context.Context, name string) (Provider, error) {
	if name != "" {
		p, err := s.Named(name)
		if err != nil {
			return nil, err
		}
		if err := p.Check(ctx); err != nil {
			return nil, fmt.Errorf("--cluster %s: not run: %w", name, err)
		}
		return p, nil
	}
	var why []string
	for _, p := range s {
		err := p.Check(ctx)
		if err == nil {
			return p, nil
		}
		why = append(why, fmt.Sprintf("%s: %v", p.Name(), err))
	}
	return nil, fmt.Errorf("this machine can have no cluster: %s", strings.Join(why, "; "))
}

// After returns the first provider after p that this machine can have, or nil.
func (s Set) After(ctx context.Context, p Provider) Provider {
	for _, next := range s[slices.Index(s, p)+1:] {
		if next.Check(ctx) == nil {
			return next
		}
	}
	return nil
}

// Down removes the checkout's clusters of all kinds.
func (s Set) Down(ctx context.Context) error {
	var errs []error
	for _, p := range s {
		errs = append(errs, p.Down(ctx))
	}
	return errors.Join(errs...)
}

// Elsewhere says how to reach a cluster of this checkout that is another user's.
func (s Set) Elsewhere() string {
	for _, p := range s {
		if where := p.Elsewhere(); where != "" {
			return where
		}
	}
	return ""
}

// Left names what is left of clusters that are not up.
func (s Set) Left(ctx context.Context) (all []string, err error) {
	var errs []error
	for _, p := range s {
		left, err := p.Left(ctx)
		all, errs = append(all, left...), append(errs, err)
	}
	return all, errors.Join(errs...)
}
