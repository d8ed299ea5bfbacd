// Package progress shows long work as numbered steps: one live line on a
// terminal, plain lines elsewhere.
package progress

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
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

// Discard tells nobody.
var Discard Reporter = discard{}

type discard struct{}

func (discard) Step(string) func(error) { return func(error) {} }
func (discard) Detail(string, string)   {}

// Run runs f as one step of r, which ends after limit. Its error names the step
// and, if the context ended it, the cause of that before what went wrong then.
func Run(ctx context.Context, r Reporter, name string, limit time.Duration, f func(ctx context.Context, detail func(string)) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %s", limit))
	defer cancel()
	end := r.Step(name)
	err := f(ctx, func(text string) { r.Detail(name, text) })
	if cause := context.Cause(ctx); cause != nil && err != nil && !errors.Is(err, cause) {
		if err = told(err); err == nil {
			err = cause
		} else {
			err = fmt.Errorf("%w; then %w", cause, err)
		}
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	end(err)
	return err
}

// told returns what an error tells beside that a context was over, or that a program
// was killed, as one is for that.
func told(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var rest []error
		for _, e := range joined.Unwrap() {
			rest = append(rest, told(e))
		}
		return errors.Join(rest...)
	}
	killed, ok := errors.AsType[*exec.ExitError](err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || ok && killed.ExitCode() < 0 {
		return nil
	}
	return err
}
