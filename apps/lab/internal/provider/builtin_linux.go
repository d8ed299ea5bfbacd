package provider

import (
	"context"
	"runtime"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/builtin"
)

type builtinProvider struct {
	dirs dirs.Dirs
	root string
}

func (builtinProvider) Name() string { return Builtin }

// Check implements Provider. What else the machine may lack is told, with the
// remedies, by the first step of Up.
func (builtinProvider) Check(context.Context) error { return builtin.CheckUser() }

func (builtinProvider) Architecture(context.Context) (string, error) { return runtime.GOARCH, nil }

func (p builtinProvider) Find(context.Context) (cluster.Cluster, error) {
	on, err := builtin.Find(p.own())
	if on == nil {
		return nil, err // no interface that holds a nil pointer
	}
	return on, err
}

func (builtinProvider) Components() []component.Component { return component.Cluster }

func (builtinProvider) Steps(Options) int { return builtin.Steps() }

func (p builtinProvider) Up(ctx context.Context, o Options) (cluster.Cluster, error) {
	on, err := builtin.Up(ctx, builtin.Options{
		Builder: o.Builder, Dirs: p.own(), Nodes: o.Nodes, APIPort: o.APIPort,
		Builds: o.Builds, Patience: o.Patience, Detached: o.Detached, Progress: o.Progress,
	})
	if on == nil {
		return nil, err
	}
	return on, err
}

func (p builtinProvider) Down(ctx context.Context) error { return builtin.Down(ctx, p.own()) }

func (p builtinProvider) Elsewhere() string { return builtin.Elsewhere(p.own(), p.root) }

// Left implements Provider. What a dead cluster leaves, the next one removes.
func (builtinProvider) Left(context.Context) ([]string, error) { return nil, nil }

func (p builtinProvider) own() builtin.Dirs { return builtin.Dirs{Dirs: p.dirs} }
