package caller

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// failurePause keeps a closed loop from spinning while nobody answers.
	failurePause = 10 * time.Millisecond
	// maxPhase is the longest distance of the first call from the start.
	maxPhase = 10 * time.Millisecond
)

var errBacklogFull = status.Error(codes.ResourceExhausted, "not sent: too many calls in flight, the servers are slower than --rate for longer than --timeout")

// invoke makes one call.
type invoke func(ctx context.Context) answer

// openLoop issues calls at the rate, whatever they take. It never skips one:
// when it wakes up late it issues at once all that are due. It returns when all
// calls are complete.
func openLoop(ctx context.Context, cfg *Config, t *tally, start time.Time, call invoke) {
	var calls sync.WaitGroup
	defer calls.Wait()
	interval := float64(time.Second) / cfg.Rate
	// Half a step from the grid of the windows: their ends then fall between
	// calls, not on them.
	phase := min(time.Duration(interval/2), maxPhase)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := int64(0); cfg.Count == 0 || i < cfg.Count; i++ {
		offset := phase + time.Duration(float64(i)*interval)
		if cfg.Duration > 0 && offset >= cfg.Duration {
			return
		}
		due := start.Add(offset)
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		} else if ctx.Err() != nil {
			return
		}
		id, inFlight := t.issue()
		if inFlight > cfg.MaxInFlight {
			t.complete(id, due, answer{err: errBacklogFull, refused: true})
			continue
		}
		calls.Go(func() { t.complete(id, due, call(ctx)) })
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
		got := call(ctx)
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
		conn, err := dialCounted(cfg, c)
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = errors.Join(errs, err)
			return
		}
		defer conn.Close()
		id, _ := t.issue()
		due := time.Now()
		t.complete(id, due, invokeOn(conn, cfg)(ctx))
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
