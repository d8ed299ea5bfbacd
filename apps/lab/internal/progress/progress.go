// Package progress shows long work as numbered steps: one live line on a
// terminal, plain lines elsewhere.
package progress

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Reporter receives what long work is doing. Its methods are safe for
// concurrent use.
type Reporter interface {
	// Step starts a named step and returns what ends it: nil for success.
	Step(name string) (end func(err error))
	// Detail says how far the running step is, such as "312 of 1,204 packages, 2m left".
	Detail(step, text string)
}

// Run runs f as one step of r, which ends after limit. Its error names the step
// and, if the context ended it, the cause of that; what f adds to the cause stays.
func Run(ctx context.Context, r Reporter, name string, limit time.Duration, f func(ctx context.Context, detail func(string)) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %s", limit))
	defer cancel()
	end := r.Step(name)
	err := f(ctx, func(text string) { r.Detail(name, text) })
	if cause := context.Cause(ctx); cause != nil && err != nil && !errors.Is(err, cause) {
		err = cause
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	end(err)
	return err
}
