//go:build !linux

package builtin

import (
	"context"
	"fmt"
	"runtime"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider"
)

// builtinProvider says that the built-in cluster needs Linux.
type builtinProvider struct{}

// New returns what says so.
func New(dirs.Dirs, string) provider.Provider { return builtinProvider{} }

func (builtinProvider) Kind() provider.Kind { return kind }

func (builtinProvider) Check(context.Context) error {
	return fmt.Errorf("the built-in cluster needs Linux, this is %s: start Docker and use --cluster kind, or name a cluster of yours by --context", runtime.GOOS)
}

func (builtinProvider) Architecture(context.Context) (string, error) { return runtime.GOARCH, nil }

func (builtinProvider) Find(context.Context) (cluster.Cluster, error) { return nil, nil }

func (builtinProvider) Components() []component.Component { return nil }

func (builtinProvider) Steps(provider.Options) int { return 0 }

func (p builtinProvider) Up(ctx context.Context, _ provider.Options) (cluster.Cluster, error) {
	return nil, p.Check(ctx)
}

func (builtinProvider) Down(context.Context) error { return nil }

func (builtinProvider) Elsewhere() string { return "" }

func (builtinProvider) Left(context.Context) ([]string, error) { return nil, nil }
