package strategy

import (
	"fmt"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// Summarize fills in a strategy's figures and what it costs.
func Summarize(f *observe.Facts, change report.Change, s *report.Strategy) (err error) {
	if err = row(f, s); err == nil {
		s.Cost, err = cost(f, change)
	}
	return err
}

// row fills in the strategy's figures, as far as their experiments were
// measured.
func row(f *observe.Facts, s *report.Strategy) error {
	if steady, _ := f.Phase(Steady); steady != nil {
		var windows []calllog.Window
		for _, name := range steady.Clients {
			own := f.Clients[name].Between(steady.Begin, steady.End)
			counts := observe.Calls(own).With(steady.Servers...)
			s.Spread = append(s.Spread, report.ClientSpread{Client: name, Servers: counts, Jain: counts.Jain()})
			if s.Jain == nil || counts.Jain() < *s.Jain {
				s.Jain = new(counts.Jain())
			}
			windows = append(windows, own...)
		}
		calls, err := latencies(windows)
		if err != nil {
			return err
		}
		if calls.Count() > 0 {
			s.P99Millis = new(calls.Percentiles().P99)
		}
	}
	if out, _ := f.Phase(ScaleOut); out != nil {
		s.Idle = idle(f, out)
		s.NewPods = newPods(f, out)
	}
	for _, name := range []string{Steady, ScaleOut, ServerLeaves} {
		if p, _ := f.Phase(name); p != nil {
			failed, _ := f.Failed(p)
			if s.FailedCalls == nil {
				s.FailedCalls = new(int64)
			}
			*s.FailedCalls += failed
		}
	}
	return nil
}

// idle counts the servers that no client called from the moment when the last
// new one was ready.
func idle(f *observe.Facts, p *observe.Phase) *report.Idle {
	counts := distribution.Counts{}.With(p.Servers...).With(p.Added...)
	servers := len(counts)
	for _, name := range p.Clients {
		counts = counts.Plus(observe.Calls(f.Clients[name].Between(p.End.Add(-f.Watched(p)), p.End)))
	}
	return &report.Idle{Idle: len(counts.Idle()), Servers: servers}
}

func newPods(f *observe.Facts, p *observe.Phase) *report.NewPods {
	pairs := f.FirstCalls(p)
	if len(pairs) == 0 {
		return nil
	}
	n := &report.NewPods{Pairs: len(pairs), WatchedSeconds: f.Watched(p).Seconds()}
	var slowest time.Duration
	for _, c := range pairs {
		if c.Called {
			n.Called++
			slowest = max(slowest, c.After)
		}
	}
	n.SlowestSeconds = slowest.Seconds()
	return n
}

// latencies merges the windows' histograms, which percentiles alone would not allow.
func latencies(windows []calllog.Window) (*latency.Histogram, error) {
	all := latency.New()
	for _, w := range windows {
		if w.LatencyHDR == "" {
			continue
		}
		h, err := latency.Decode(w.LatencyHDR)
		if err != nil {
			return nil, fmt.Errorf("window %d: %w", w.Seq, err)
		}
		all.Merge(h)
	}
	return all, nil
}
