package strategy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// fair wants every client to call every server about evenly in the steady state,
// as a balancer does that does not take turns.
func fair(f *observe.Facts) runner.Verdict {
	steady, why := f.Phase(Steady)
	if steady == nil {
		return runner.NotRunFor(why)
	}
	if len(steady.Servers) < 2 || len(steady.Clients) == 0 {
		return runner.NotRun("%d clients called %d servers: nothing to spread", len(steady.Clients), len(steady.Servers))
	}
	even := newFairness()
	for _, name := range steady.Clients {
		counts := observe.Calls(f.Clients[name].Between(steady.Begin, steady.End)).With(steady.Servers...)
		if idle := counts.Idle(); len(idle) > 0 {
			return runner.Decided(false, "%s did not call %s", name, strings.Join(idle, ", "))
		}
		even.add(counts)
	}
	return runner.Decided(even.holds(), "%d calls of %d clients to %d servers: %s", even.together.Total(), len(steady.Clients), len(steady.Servers), even)
}

// all wants every one of several verdicts.
func all(judges ...func(*observe.Facts) runner.Verdict) func(*observe.Facts) runner.Verdict {
	return func(f *observe.Facts) runner.Verdict {
		var measured []string
		for _, judge := range judges {
			v := judge(f)
			if v.Status != report.Proven {
				return v
			}
			measured = append(measured, v.Measured)
		}
		return runner.Decided(true, "%s", strings.Join(measured, "; "))
	}
}

// refreshLimit is how soon a proxy that looks a headless name up each second
// sends to new pods: what DNS trails, a look-up, a health check and a margin.
func refreshLimit(d observe.DNS) time.Duration { return d.MaxStaleness() + 5*time.Second }

// undisturbed wants no call lost in an experiment and almost all in time.
func undisturbed(experiment string) func(*observe.Facts) runner.Verdict {
	return func(f *observe.Facts) runner.Verdict {
		p, why := f.Phase(experiment)
		if p == nil {
			return runner.NotRunFor(why)
		}
		late, failed, total := int64(0), int64(0), int64(0)
		for _, name := range p.Clients {
			windows := f.Clients[name].Between(p.Begin, p.End)
			late, failed = late+lateness(windows), failed+observe.Failures(windows)
			for _, w := range windows {
				total += w.Calls
			}
		}
		if total == 0 {
			return runner.NotRun("no call was made")
		}
		inTime := float64(total-late) >= mostAnswered*float64(total)
		return runner.Decided(failed == late && inTime, "%d calls of %d clients in %s: %d lost, %d late",
			total, len(p.Clients), runner.Seconds(p.End.Sub(p.Change).Round(100*time.Millisecond)), failed-late, late)
	}
}

// notRolledOut wants the old proxies to stay while the new one fails.
func notRolledOut(f *observe.Facts) runner.Verdict {
	if p, why := f.Phase(BrokenConfiguration); p == nil {
		return runner.NotRunFor(why)
	}
	r := f.Rollout
	if r == nil || len(r.Before) == 0 {
		return runner.NotRun("no proxy was there before")
	}
	if r.NewReady {
		return runner.Decided(false, "%s is ready with the broken configuration", r.New)
	}
	return runner.Decided(slices.Equal(r.Before, r.After), "%s never became ready (%s); of %d old proxies %d serve on", r.New, r.Why, len(r.Before), len(r.After))
}

// noProxyProcess wants the clients' pods to run the client and the agent that
// fetches its configuration, and nothing that passes calls on.
func noProxyProcess(f *observe.Facts) runner.Verdict {
	if f.ProcessesUnknown != (observe.Reason{}) {
		return runner.NotRunFor(f.ProcessesUnknown)
	}
	if len(f.Processes) == 0 {
		return runner.NotRun("the processes of the pods were not listed")
	}
	var seen []string
	for _, pod := range observe.Keys(f.Processes) {
		for _, process := range f.Processes[pod] {
			if process == "envoy" {
				return runner.Decided(false, "%s runs %s", pod, process)
			}
			if !slices.Contains(seen, process) {
				seen = append(seen, process)
			}
		}
	}
	slices.Sort(seen)
	return runner.Decided(true, "%d pods run %s", len(f.Processes), strings.Join(seen, ", "))
}

// startedLate says what a client does that starts without a control plane.
func startedLate(f *observe.Facts, p *observe.Phase) report.Finding {
	if len(p.Added) != 1 {
		return report.Finding{Text: "a client that starts while istiod is away gets answers once it is back", Measured: "no new client was seen"}
	}
	name := p.Added[0]
	first, answered := time.Time{}, false
	if c := f.Clients[name]; c != nil {
		for _, at := range c.First {
			if !answered || at.Before(first) {
				first, answered = at, true
			}
		}
	}
	measured := name + " got no answer"
	if answered {
		measured = fmt.Sprintf("%s got its first answer %s after istiod was there again", name, runner.Seconds(first.Sub(p.Restored).Round(10*time.Millisecond)))
	}
	return report.Finding{
		Text: "a client that starts while istiod is away gets answers once it is back", Holds: answered && first.After(p.Restored), Measured: measured,
	}
}
