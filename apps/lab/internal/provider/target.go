package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
)

// Target is the cluster that a command works with: one that is up, or one to boot.
type Target struct {
	// Architectures are those of the nodes; Assumed says that the cluster did not tell.
	Architectures []string
	Assumed       bool
	// Boots says that Up boots the cluster and Down removes it.
	Boots bool
	// Steps counts what Up reports, Components lists what it builds.
	Steps      int
	Components []component.Component

	running cluster.Cluster // nil where Up boots one
	boot    boot
}

// boot is what Up needs to boot a cluster.
type boot struct {
	set     Set
	from    Provider
	asked   string
	options Options
	// switched is called if another kind of cluster is used, with the reason.
	switched func(why error, next string)
}

// Running is the target that is up already.
func Running(ctx context.Context, on cluster.Cluster) *Target {
	all, known := on.Architectures(ctx)
	return &Target{Architectures: all, Assumed: !known, running: on}
}

// Target returns the checkout's cluster that is up, or else one that Up boots: of the
// kind that is asked for, or without a name of the first that this machine can have. If
// that lacks the image of its nodes, Up takes the next kind and tells switched.
func (s Set) Target(ctx context.Context, asked string, o Options, switched func(why error, next string)) (*Target, error) {
	of, running, err := s.Find(ctx)
	if err != nil {
		return nil, err
	}
	if running != nil {
		if up := of.Kind().Name; asked != "" && asked != up {
			return nil, fmt.Errorf("--cluster %s: this checkout's %s cluster is up: end it with `lab down`, or leave the flag out", asked, up)
		}
		return Running(ctx, running), nil
	}
	from, err := s.Choose(ctx, asked)
	if err != nil {
		return nil, err
	}
	arch, err := from.Architecture(ctx)
	if err != nil {
		return nil, err
	}
	return &Target{
		Architectures: []string{arch}, Boots: true, Steps: from.Steps(o), Components: from.Components(),
		boot: boot{s, from, asked, o, switched},
	}, nil
}

// Up returns the cluster. Builds are components that will be built later.
func (t *Target) Up(ctx context.Context, r progress.Reporter, builds []component.Component) (cluster.Cluster, error) {
	if !t.Boots {
		return t.running, nil
	}
	b := &t.boot
	b.options.Progress, b.options.Builds = r, builds
	on, err := b.from.Up(ctx, b.options)
	if !errors.Is(err, ErrNoImage) {
		return on, err
	}
	next := b.set.After(ctx, b.from)
	if b.asked != "" || next == nil {
		return nil, fmt.Errorf("%w: name an image that Docker can pull by --node-image, or boot another kind of cluster: --cluster %s", err, strings.Join(b.set.without(b.from), " or "))
	}
	b.switched(err, next.Kind().Name)
	b.from = next
	return next.Up(ctx, b.options)
}

// Down removes the cluster that Up booted.
func (t *Target) Down(ctx context.Context) error {
	if !t.Boots {
		return nil
	}
	return t.boot.from.Down(ctx)
}
