package provider

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/kind"
)

type kindProvider struct{ dirs dirs.Dirs }

func (kindProvider) Name() string { return Kind }

func (kindProvider) Check(ctx context.Context) error {
	if err := kind.Answers(ctx); err != nil {
		return fmt.Errorf("%w: start Docker", err)
	}
	return nil
}

func (kindProvider) Architecture(ctx context.Context) (string, error) { return kind.Architecture(ctx) }

func (p kindProvider) Find(ctx context.Context) (cluster.Cluster, error) {
	if kind.Answers(ctx) != nil {
		return nil, nil // without Docker no cluster of it is up
	}
	on, err := kind.Find(ctx, p.options(Options{}))
	if on == nil {
		return nil, err // no interface that holds a nil pointer
	}
	return on, err
}

func (kindProvider) Components() []component.Component { return nil }

func (p kindProvider) Steps(o Options) int { return kind.Steps(p.options(o)) }

func (p kindProvider) Up(ctx context.Context, o Options) (cluster.Cluster, error) {
	on, err := kind.Up(ctx, p.options(o))
	if errors.Is(err, kind.ErrPull) {
		err = fmt.Errorf("%w: %w", ErrNoImage, err)
	}
	if on == nil {
		return nil, err
	}
	return on, err
}

func (p kindProvider) Down(ctx context.Context) error { return kind.Down(ctx, p.options(Options{})) }

// Elsewhere implements Provider. Docker shows all users the same clusters.
func (kindProvider) Elsewhere() string { return "" }

// Left implements Provider. Without Docker nothing of it runs.
func (p kindProvider) Left(ctx context.Context) ([]string, error) {
	if kind.Answers(ctx) != nil {
		return nil, nil
	}
	return kind.Left(ctx, p.options(Options{}))
}

func (p kindProvider) options(o Options) kind.Options {
	return kind.Options{
		Name: "grpc-lb-" + p.dirs.ID, Kubeconfig: filepath.Join(p.dirs.Cluster, "kind.kubeconfig"), Logs: filepath.Join(p.dirs.Cluster, "logs", "kind"),
		Nodes: o.Nodes, NodeImage: o.NodeImage, APIPort: o.APIPort, Progress: o.Progress,
	}
}
