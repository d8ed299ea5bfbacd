package kind

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider"
)

type kindProvider struct{ dirs dirs.Dirs }

// New returns what makes the kind cluster of a checkout.
func New(d dirs.Dirs, _ string) provider.Provider { return kindProvider{d} }

func (kindProvider) Kind() provider.Kind {
	return provider.Kind{Name: name, Needs: "Docker is running", NodeImages: true}
}

func (kindProvider) Check(ctx context.Context) error {
	if err := IsAvailable(ctx); err != nil {
		return fmt.Errorf("%w: start Docker", err)
	}
	return nil
}

func (kindProvider) Architecture(ctx context.Context) (string, error) { return Architecture(ctx) }

func (p kindProvider) Find(ctx context.Context) (cluster.Cluster, error) {
	if IsAvailable(ctx) != nil {
		return nil, nil // without Docker no cluster of it is up
	}
	on, err := Find(ctx, p.options(provider.Options{}))
	if on == nil {
		return nil, err // no interface that holds a nil pointer
	}
	return on, err
}

func (kindProvider) Components() []component.Component { return nil }

func (p kindProvider) Steps(o provider.Options) int { return Steps(p.options(o)) }

func (p kindProvider) Up(ctx context.Context, o provider.Options) (cluster.Cluster, error) {
	on, err := Up(ctx, p.options(o))
	if errors.Is(err, ErrPull) {
		err = fmt.Errorf("%w: %w", provider.ErrNoImage, err)
	}
	if on == nil {
		return nil, err
	}
	return on, err
}

func (p kindProvider) Down(ctx context.Context) error {
	return Down(ctx, p.options(provider.Options{}))
}

// Elsewhere implements Provider. Docker shows all users the same clusters.
func (kindProvider) Elsewhere() string { return "" }

// Left implements Provider. Without Docker nothing of it runs.
func (p kindProvider) Left(ctx context.Context) ([]string, error) {
	if IsAvailable(ctx) != nil {
		return nil, nil
	}
	return Left(ctx, p.options(provider.Options{}))
}

func (p kindProvider) options(o provider.Options) Options {
	return Options{
		Name: "grpc-lb-" + p.dirs.ID, Kubeconfig: filepath.Join(p.dirs.Cluster, "kind.kubeconfig"), Logs: filepath.Join(p.dirs.Cluster, "logs", "kind"),
		Nodes: o.Nodes, NodeImage: o.NodeImage, APIPort: o.APIPort, Progress: o.Progress,
	}
}
