package progress_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
)

// recorder notes how each step ended.
type recorder struct{ ended []error }

func (r *recorder) Step(string) func(error) {
	return func(err error) { r.ended = append(r.ended, err) }
}
func (r *recorder) Detail(string, string) {}

// A step's error names the step and why it ended: its own, its deadline's or the
// caller's.
func TestRun(t *testing.T) {
	wait := func(ctx context.Context, _ func(string)) error { <-ctx.Done(); return ctx.Err() }
	for _, test := range []struct {
		name string
		do   func(context.Context, func(string)) error
		stop error
		want string // "" for none
	}{
		{name: "done", do: func(context.Context, func(string)) error { return nil }},
		{name: "failed", do: func(context.Context, func(string)) error { return errors.New("no room") }, want: "build x: no room"},
		{name: "too_long", do: wait, want: "build x: it took longer than 1m0s"},
		{name: "too_long_and_why", do: func(ctx context.Context, _ func(string)) error {
			<-ctx.Done()
			return errors.Join(fmt.Errorf("no node is ready: %w", context.Cause(ctx)), errors.New("a container is left"))
		}, want: "build x: no node is ready: it took longer than 1m0s\na container is left"},
		{name: "interrupted", do: wait, stop: errors.New("interrupted by interrupt"), want: "build x: interrupted by interrupt"},
		{
			name: "interrupted_and_not_cleaned_up", stop: errors.New("interrupted by interrupt"), want: "build x: interrupted by interrupt; then two nodes are left",
			do: func(ctx context.Context, _ func(string)) error {
				<-ctx.Done()
				return errors.Join(ctx.Err(), errors.New("two nodes are left"))
			},
		},
		{
			name: "too_long_and_says_what", want: "build x: it took longer than 1m0s, while linking",
			do: func(ctx context.Context, _ func(string)) error {
				<-ctx.Done()
				return fmt.Errorf("%w, while linking", context.Cause(ctx))
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancelCause(t.Context())
				defer stop(nil)
				if test.stop != nil {
					time.AfterFunc(time.Second, func() { stop(test.stop) })
				}
				r := &recorder{}
				err := progress.Run(ctx, r, "build x", time.Minute, test.do)
				if (err == nil) != (test.want == "") || err != nil && err.Error() != test.want {
					t.Errorf("error %v, want %q", err, test.want)
				}
				if len(r.ended) != 1 || !errors.Is(err, r.ended[0]) {
					t.Errorf("the step ended with %v, want once with %v", r.ended, err)
				}
			})
		})
	}
}
