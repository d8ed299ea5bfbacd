package experiment

import (
	"fmt"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// row fills in the strategy's figures, as far as their experiments were
// measured.
func row(f *Facts, s *report.Strategy) error {
	if steady, _ := f.phase(Steady); steady != nil {
		var windows []calllog.Window
		for _, name := range steady.Clients {
			own := f.Clients[name].between(steady.Begin, steady.End)
			counts := calls(own).With(steady.Servers...)
			s.Spread = append(s.Spread, report.ClientSpread{Client: name, Servers: counts, Jain: counts.Jain()})
			if s.Jain == nil || counts.Jain() < *s.Jain {
				s.Jain = new(counts.Jain())
			}
			windows = append(windows, own...)
		}
		millis, err := latencyOf(windows)
		if err != nil {
			return err
		}
		if millis != nil {
			s.P99Millis = &millis.P99
		}
	}
	if out, _ := f.phase(ScaleOut); out != nil {
		s.Idle = idle(f, out)
		s.NewPods = newPods(f, out)
	}
	for _, name := range []string{Steady, ScaleOut, ServerLeaves} {
		if p, _ := f.phase(name); p != nil {
			failed, _ := f.failed(p)
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
func idle(f *Facts, p *Phase) *report.Idle {
	counts := distribution.Counts{}.With(p.Servers...).With(p.Added...)
	servers := len(counts)
	for _, name := range p.Clients {
		counts = counts.Plus(calls(f.Clients[name].between(p.End.Add(-f.watched(p)), p.End)))
	}
	return &report.Idle{Idle: len(counts.Idle()), Servers: servers}
}

func newPods(f *Facts, p *Phase) *report.NewPods {
	pairs := f.firstCalls(p)
	if len(pairs) == 0 {
		return nil
	}
	n := &report.NewPods{Pairs: len(pairs), WatchedSeconds: f.watched(p).Seconds()}
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

// latencyOf merges the windows' histograms, which percentiles alone would not
// allow; nil without a call.
func latencyOf(windows []calllog.Window) (*calllog.Latency, error) {
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
	if all.Count() == 0 {
		return nil, nil
	}
	return new(all.Percentiles()), nil
}
