package caller

import (
	"context"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/caller/callerlog"
)

// OpenLoop runs the open loop alone, over calls that answer as told, from a
// start that may lie in the past. It returns the summary.
func OpenLoop(ctx context.Context, cfg Config, start time.Time, call func(context.Context) error) *callerlog.Summary {
	events := make(chan event, eventBacklog)
	t := newTally(new(connections), events)
	t.restart()
	openLoop(ctx, &cfg, t, start, func(ctx context.Context) answer {
		if err := call(ctx); err != nil {
			return answer{err: err}
		}
		return answer{server: "server"}
	})
	return t.finish()
}
