package strategy

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// alongside runs both and returns when both have.
func alongside(ctx context.Context, both ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, one := range both {
		group.Go(func() error { return one(ctx) })
	}
	return group.Wait()
}
