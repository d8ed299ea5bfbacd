//go:build !linux

package provider

import (
	"context"
	"fmt"
	"runtime"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
)

// builtinProvider says that the built-in cluster needs Linux.
type builtinProvider struct {
	dirs dirs.Dirs
	root string
}

func (builtinProvider) Name() string { return Builtin }

func (builtinProvider) Check(context.Context) error {
	return fmt.Errorf("the built-in cluster needs Linux, this is %s: start Docker and use --cluster kind, or name a cluster of yours by --context", runtime.GOOS)
}

func (builtinProvider) Architecture(context.Context) (string, error) { return runtime.GOARCH, nil }

func (builtinProvider) Find(context.Context) (cluster.Cluster, error) { return nil, nil }

func (builtinProvider) Components() []component.Component { return nil }

func (builtinProvider) Steps(Options) int { return 0 }

func (p builtinProvider) Up(ctx context.Context, _ Options) (cluster.Cluster, error) {
	return nil, p.Check(ctx)
}

func (builtinProvider) Down(context.Context) error { return nil }

func (builtinProvider) Elsewhere() string { return "" }

func (builtinProvider) Left(context.Context) ([]string, error) { return nil, nil }
