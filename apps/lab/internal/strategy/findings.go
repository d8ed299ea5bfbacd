package strategy

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

func noFailures(f *observe.Facts, p *observe.Phase) report.Finding {
	failed, all := f.Failed(p)
	return report.Finding{Text: "no call fails", Holds: failed == 0, Measured: fmt.Sprintf("%d of %d failed", failed, all)}
}

func addedAreCalled(f *observe.Facts, p *observe.Phase) report.Finding {
	pairs := f.FirstCalls(p)
	text, all := pairsText(pairs, f.Watched(p))
	var each []string
	for _, pod := range p.Added {
		first := distribution.FirstCall{Server: pod}
		for _, c := range pairs {
			if c.Server == pod && c.Called && (!first.Called || c.After < first.After) {
				first = c.FirstCall
			}
		}
		if first.Called {
			each = append(each, fmt.Sprintf("%s first after %s", pod, runner.Seconds(first.After.Round(10*time.Millisecond))))
		} else {
			each = append(each, fmt.Sprintf("%s never in %s", pod, runner.Seconds(f.Watched(p))))
		}
	}
	return report.Finding{
		Text: "every client calls every new pod", Holds: all && len(pairs) > 0,
		Measured: text + " (" + strings.Join(each, ", ") + ")",
	}
}

func replacementIsCalled(f *observe.Facts, p *observe.Phase) report.Finding {
	text, all := pairsText(f.FirstCalls(p), f.Watched(p))
	return report.Finding{
		Text: "every client calls the pod that replaced " + p.Left, Holds: all && len(p.Added) > 0, Measured: text,
	}
}

// stayedOnFirst says whether the clients kept to the servers that were ready
// when they started.
func stayedOnFirst(f *observe.Facts, p *observe.Phase) report.Finding {
	var called []string
	for _, c := range f.FirstCalls(p) {
		if c.Called && !slices.Contains(called, c.Server) {
			called = append(called, c.Server)
		}
	}
	return report.Finding{
		Text:     "clients that start while one server is ready stay on it",
		Holds:    len(called) == 0 && len(p.Added) > 0 && len(p.Clients) > 0,
		Measured: fmt.Sprintf("%d clients called %d of %d servers that became ready later, in %s", len(p.Clients), len(called), len(p.Added), runner.Seconds(f.Watched(p))),
	}
}

// busiest returns the server that answered most in the clients' last windows, of
// those that are among the given ones and ready.
func busiest(f *observe.Facts, p *observe.Phase, among []string) string {
	counts := distribution.Counts{}
	for _, name := range p.Clients {
		windows := f.Clients[name].Windows
		counts = counts.Plus(observe.Calls(windows[max(0, len(windows)-3):]))
	}
	most := ""
	for _, server := range among {
		if slices.Contains(p.Servers, server) && (most == "" || counts[server] > counts[most]) {
			most = server
		}
	}
	return most
}

// unseen says which pods of the scale-out the clients have not called yet.
func unseen(f *observe.Facts, p *observe.Phase) string {
	missing := 0
	if out := f.Phases[ScaleOut]; out != nil {
		for _, client := range p.Clients {
			for _, server := range out.Added {
				if _, called := f.Clients[client].First[server]; !called {
					missing++
				}
			}
		}
	}
	if missing == 0 {
		return ""
	}
	return fmt.Sprintf("%d first calls are missing", missing)
}

// lookup reads the answer of `echo-client resolve` against the endpoints of its
// moment, which is now where there was no answer.
func lookup(f *observe.Facts, lines []calllog.Line, now time.Time) observe.Lookup {
	l := observe.Lookup{At: now}
	for _, line := range lines {
		if r, ok := line.(*calllog.Resolved); ok {
			l.At = r.Time
			for _, address := range r.Addresses {
				if host, _, err := net.SplitHostPort(address); err == nil {
					address = host
				}
				l.Addresses = append(l.Addresses, address)
			}
		}
	}
	slices.Sort(l.Addresses)
	for _, e := range f.Endpoints {
		if e.At.After(l.At) {
			break
		}
		if ready := slices.Sorted(maps.Values(e.Ready)); !slices.Equal(ready, l.Ready) || l.Since.IsZero() {
			l.Ready, l.Since = ready, e.At
		}
	}
	return l
}
