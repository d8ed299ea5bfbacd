package experiment_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/experiment"
)

// Strategies that meet go on together, again and again; one that leaves, having
// failed or ended, is not waited for.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q experiment.Quiet
		var passed atomic.Int32
		start := time.Now()
		for i := range 3 {
			leave := q.Join()
			go func() {
				defer leave()
				for range 2 {
					<-time.After(time.Duration(i+1) * time.Second)
					if i == 1 && passed.Load() > 0 {
						return // fails after the first meeting
					}
					if err := q.Wait(t.Context()); err != nil {
						t.Error(err)
					}
					passed.Add(1)
				}
			}()
		}
		<-time.After(2900 * time.Millisecond)
		if n := passed.Load(); n != 0 {
			t.Errorf("%d passed after %v, want none before the slowest came", n, time.Since(start))
		}
		<-time.After(200 * time.Millisecond)
		synctest.Wait()
		if n := passed.Load(); n != 3 {
			t.Errorf("%d passed after %v, want all 3", n, time.Since(start))
		}
		<-time.After(3 * time.Second)
		synctest.Wait()
		if n := passed.Load(); n != 5 {
			t.Errorf("%d passed after %v, want 5: two met again without the third", n, time.Since(start))
		}
	})
}

// The end of the run ends the waiting.
func TestQuietEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q experiment.Quiet
		defer q.Join()()
		defer q.Join()()
		interrupted := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(interrupted) })
		if err := q.Wait(ctx); !errors.Is(err, interrupted) {
			t.Errorf("waiting gives %v, want %v", err, interrupted)
		}
	})
}
