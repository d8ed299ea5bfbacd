package loadgen

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// failurePause keeps a closed loop from spinning while nobody answers.
const failurePause = 10 * time.Millisecond

var errBacklogFull = status.Error(codes.ResourceExhausted, "not sent: too many calls in flight, the servers are slower than --rate for longer than --timeout")

// invoke makes one call.
type invoke func() answer

// openLoop issues calls at the pace, even if calls are slow. It skips none: if it
// wakes up late, it issues all due calls at once. It returns when all calls
// are complete.
func openLoop(ctx context.Context, cfg *Config, p *pace, t *tally, start time.Time, call invoke) {
	var calls sync.WaitGroup
	defer calls.Wait()
	p.begin(start)
	end := start.Add(cmp.Or(cfg.Duration, forever))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for issued := int64(0); cfg.Count == 0 || issued < cfg.Count; {
		now := time.Now()
		due, taken := p.take(now)
		paused := due.IsZero()
		if paused {
			due = end // until when there is nothing to do
		}
		if over := !due.Before(end) && (!paused || !now.Before(end)); over || ctx.Err() != nil {
			return
		}
		if !taken {
			timer.Reset(due.Sub(now))
			select {
			case <-timer.C:
			case <-p.changed:
			case <-ctx.Done():
			}
			continue
		}
		issued++
		id, inFlight := t.issue()
		if inFlight > cfg.MaxInFlight {
			t.complete(id, due, answer{err: errBacklogFull, refused: true})
			continue
		}
		calls.Go(func() { t.complete(id, due, call()) })
	}
}

// closedLoop keeps cfg.Concurrency callers busy, each with one call at a time.
func closedLoop(ctx context.Context, cfg *Config, t *tally, call invoke) {
	loopCtx := ctx
	if cfg.Duration > 0 {
		var cancel context.CancelFunc
		loopCtx, cancel = context.WithTimeout(ctx, cfg.Duration)
		defer cancel()
	}
	inParallel(loopCtx, cfg.Concurrency, cfg.Count, func() {
		id, _ := t.issue()
		due := time.Now()
		got := call()
		t.complete(id, due, got)
		if got.err != nil {
			pause(loopCtx, failurePause)
		}
	})
}

// freshConnections makes each call on a connection of its own, which it closes.
// The time to connect is part of the call's latency.
func freshConnections(ctx context.Context, cfg *Config, t *tally, c *connections) error {
	var mu sync.Mutex
	var errs error
	inParallel(ctx, cfg.Concurrency, cfg.FreshConnections, func() {
		conn, err := cfg.dial(c)
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = errors.Join(errs, err)
			return
		}
		defer conn.Close()
		id, _ := t.issue()
		due := time.Now()
		t.complete(id, due, invokeOn(conn, cfg)())
	})
	return errs
}

// inParallel runs work count times, or until ctx is done when count is 0, with
// the given number of goroutines.
func inParallel(ctx context.Context, goroutines int, count int64, work func()) {
	var done sync.WaitGroup
	var taken atomic.Int64
	for range goroutines {
		done.Go(func() {
			for ctx.Err() == nil && (taken.Add(1) <= count || count == 0) {
				work()
			}
		})
	}
	done.Wait()
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
