package strategy

import (
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// called wants every client to call every added pod soon after the watch
// said that it is ready.
func called(f *observe.Facts, out *observe.Phase, first []observe.Pair, limit within) runner.Verdict {
	var slowest time.Duration
	for _, p := range first {
		if !p.Called {
			return runner.Decided(false, "%s did not call %s in %s", p.Client, p.Server, runner.Seconds(f.Watched(out)))
		}
		slowest = max(slowest, p.After)
	}
	return runner.Decided(slowest <= limit.In(f.DNS), "%d clients called all %d new pods, the slowest %s after Ready", len(out.Clients), len(out.Added), runner.Seconds(slowest.Round(10*time.Millisecond))).
		With("%s", runner.Seconds(slowest.Round(10*time.Millisecond)))
}
