package loadgen

import (
	"context"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
)

// OpenLoop runs the open loop alone, over calls that answer as told, from a
// start that may lie in the past. It returns the summary.
func OpenLoop(ctx context.Context, cfg Config, start time.Time, call func(context.Context) error) *calllog.Summary {
	return runOpenLoop(ctx, &cfg, newPace(cfg.Rate), start, call)
}

// PacedLoop returns the open loop alone, to be run with calls that take no time
// and are made one after the other, and what changes its rate.
func PacedLoop(cfg Config) (setRate func(float64) float64, run func(ctx context.Context, start time.Time, call func(context.Context))) {
	p := newPace(cfg.Rate)
	cfg.MaxInFlight = 1
	setRate = func(rate float64) float64 { return p.set(rate, time.Now()) }
	run = func(ctx context.Context, start time.Time, call func(context.Context)) {
		runOpenLoop(ctx, &cfg, p, start, func(ctx context.Context) error {
			call(ctx)
			return nil
		})
	}
	return setRate, run
}

func runOpenLoop(ctx context.Context, cfg *Config, p *pace, start time.Time, call func(context.Context) error) *calllog.Summary {
	events := make(chan event, eventBacklog)
	t := newTally(new(connections), events)
	t.restart()
	openLoop(ctx, cfg, p, t, start, func() answer {
		if err := call(ctx); err != nil {
			return answer{err: err}
		}
		return answer{server: "server"}
	})
	return t.finish()
}
