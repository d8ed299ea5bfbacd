// Package poll waits for what cannot be watched. Unlike the functions of
// k8s.io/apimachinery/pkg/util/wait, which it uses, its errors say what was missing
// and hold the context's cause.
package poll

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Until calls missing, at first at once and then after each interval, until it
// returns "" or an error. When the context ends, the error says what was missing
// last and wraps the context's cause.
func Until(ctx context.Context, interval time.Duration, missing func(context.Context) (string, error)) error {
	last := "nothing was seen"
	err := wait.PollUntilContextCancel(ctx, interval, true, func(ctx context.Context) (bool, error) {
		now, err := missing(ctx)
		switch {
		case ctx.Err() != nil && (err != nil || now != ""):
			return false, nil // the end of the context is the reason
		case err == nil && now != "":
			last = now
		}
		return now == "", err
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%s: %w", last, context.Cause(ctx))
	}
	return err
}

// Sleep returns nil after d, or the context's cause when that ends earlier.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
