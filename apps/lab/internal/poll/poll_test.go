package poll_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

var errLimit = errors.New("not in 10 s")

// Until asks at once, then after each interval, and ends when nothing is missing.
func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, asked := time.Now(), 0
		err := poll.Until(t.Context(), time.Second, func(context.Context) (string, error) {
			if asked++; asked < 4 {
				return "three more", nil
			}
			return "", nil
		})
		if err != nil || asked != 4 || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %d calls and %s, expected nil after 4 calls and 3s", err, asked, time.Since(began))
		}
	})
}

// An error ends it. The end of the context is no error of what was asked: the text
// is what was missing last, and the cause can be told.
func TestUntilFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		if err := poll.Until(t.Context(), time.Second, func(context.Context) (string, error) { return "", broken }); !errors.Is(err, broken) {
			t.Errorf("%v, expected %v", err, broken)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errLimit)
		defer cancel()
		err := poll.Until(ctx, 3*time.Second, func(ctx context.Context) (string, error) {
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			return "1 of 2 pods", nil
		})
		if !errors.Is(err, errLimit) || err.Error() != "1 of 2 pods: not in 10 s" {
			t.Errorf("%v, expected what was missing and %v", err, errLimit)
		}
	})
}

// Sleep ends with the context, and says why.
func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := poll.Sleep(t.Context(), time.Minute); err != nil || time.Since(began) != time.Minute {
			t.Errorf("%v after %s, expected nil after 1m0s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errLimit)
		defer cancel()
		if err := poll.Sleep(ctx, time.Minute); !errors.Is(err, errLimit) {
			t.Errorf("%v, expected %v", err, errLimit)
		}
	})
}
