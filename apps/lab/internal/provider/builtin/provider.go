//go:build linux

package builtin

import (
	"context"
	"runtime"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider"
)

type builtinProvider struct {
	dirs Dirs
	root string
}

// New returns what makes the built-in cluster of the checkout at root.
func New(d dirs.Dirs, root string) provider.Provider { return builtinProvider{Dirs{d}, root} }

func (builtinProvider) Kind() provider.Kind { return kind }

// Check implements Provider. The first step of Up finds what else the
// machine lacks, and names the remedies.
func (builtinProvider) Check(context.Context) error { return CheckUser() }

func (builtinProvider) Architecture(context.Context) (string, error) { return runtime.GOARCH, nil }

func (p builtinProvider) Find(context.Context) (cluster.Cluster, error) {
	on, err := Find(p.dirs)
	if on == nil {
		return nil, err // no interface that holds a nil pointer
	}
	return on, err
}

func (builtinProvider) Components() []component.Component { return component.Cluster }

func (builtinProvider) Steps(provider.Options) int { return Steps() }

func (p builtinProvider) Up(ctx context.Context, o provider.Options) (cluster.Cluster, error) {
	on, err := Up(ctx, Options{
		Builder: o.Builder, Dirs: p.dirs, Nodes: o.Nodes, APIPort: o.APIPort,
		Builds: o.Builds, Patience: o.Patience, Detached: o.Detached, Progress: o.Progress,
	})
	if on == nil {
		return nil, err
	}
	return on, err
}

func (p builtinProvider) Down(ctx context.Context) error { return Down(ctx, p.dirs) }

func (p builtinProvider) Elsewhere() string { return Elsewhere(p.dirs, p.root) }

// Left implements Provider. The next cluster removes the
// remains of a dead one.
func (builtinProvider) Left(context.Context) ([]string, error) { return nil, nil }
