package echo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// ErrStoppedAtOnce is the end of a server that got a second signal while it
// drained: calls may have been cut.
var ErrStoppedAtOnce = errors.New("stopped at once by a second signal")

// Drain ends a server so that no call fails. It moves through four phases:
//
//	serving   until the first signal
//	draining  health says NOT_SERVING while new calls are still answered, for
//	          Delay: routes to this server vanish only some time after it has
//	          begun to end
//	stopping  no new calls; those under way have Timeout to end
//	stopped   what was still open is cut
//
// A second signal or the context's end leads from any phase to the last.
type Drain struct {
	Delay, Timeout time.Duration

	NotServing   func() // turns health
	GracefulStop func() // returns when the last call has ended
	Stop         func() // cuts everything, must make GracefulStop return
	Log          *slog.Logger
}

type phase int

const (
	serving phase = iota
	draining
	stopping
)

// Run returns when the server has stopped: nil after a drain, even one that had
// to cut calls when its time was over; ErrStoppedAtOnce after a second signal;
// the context's cause when that ended; or what came over failed.
func (d *Drain) Run(ctx context.Context, signals <-chan os.Signal, failed <-chan error) error {
	var (
		now   = serving
		timer <-chan time.Time // ends draining, then stopping
		ended chan struct{}    // closed when GracefulStop has returned
	)
	for {
		select {
		case sig := <-signals:
			if now != serving {
				d.Log.Warn("stopping at once", "signal", sig.String())
				d.Stop()
				return ErrStoppedAtOnce
			}
			now, timer = draining, time.After(d.Delay)
			d.NotServing()
			d.Log.Info("draining", "signal", sig.String(), "delay", d.Delay.String())
		case <-timer:
			if now == stopping {
				d.Log.Warn("cutting the calls still under way", "timeout", d.Timeout.String())
				d.Stop()
				return nil
			}
			now, timer = stopping, time.After(d.Timeout)
			d.Log.Info("stopping", "timeout", d.Timeout.String())
			ended = make(chan struct{})
			go func() {
				defer close(ended)
				d.GracefulStop()
			}()
		case <-ended:
			return nil
		case err := <-failed:
			d.Stop()
			return fmt.Errorf("serving: %w", err)
		case <-ctx.Done():
			d.Stop()
			return context.Cause(ctx)
		}
	}
}
