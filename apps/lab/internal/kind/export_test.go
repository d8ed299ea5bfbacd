package kind

import (
	"context"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/existing"
)

// Provider is what a test puts in place of kind's library.
type Provider = provider

// What only tests outside of the package reach for.
func UpWith(ctx context.Context, o Options, p Provider, connect func(context.Context, Options) (*existing.Cluster, error)) (*Cluster, error) {
	return up(ctx, o, p, connect)
}

// DownWith is Down by another library.
func DownWith(o Options, p Provider) error { return down(o, p) }
