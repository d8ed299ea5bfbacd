package strategy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// The least Jain's indices of a balancer that picks at random and spares servers
// that are slow for a moment, as least request does; turns would give 1. Over all
// clients chance stays far above fairEnough, over one client's calls it does not.
const (
	fairEnough = 0.95
	fairAlone  = 0.80
)

// fairLimit says both.
var fairLimit = fmt.Sprintf("Jain >= %.2f over all clients and >= %.2f for each", fairEnough, fairAlone)

// fairness adds up how evenly clients called.
type fairness struct {
	least    float64 // of the clients' own indices
	together distribution.Counts
}

func newFairness() *fairness { return &fairness{least: 1, together: distribution.Counts{}} }

func (f *fairness) add(client distribution.Counts) {
	f.least, f.together = min(f.least, client.Jain()), f.together.Plus(client)
}

func (f *fairness) holds() bool { return f.together.Jain() >= fairEnough && f.least >= fairAlone }

func (f *fairness) String() string {
	return fmt.Sprintf("Jain %.3f over all, >= %.3f for each", f.together.Jain(), f.least)
}

// mostAnswered is the least share of calls that are answered in time where
// something is taken away that must not be missed.
const mostAnswered = 0.95

// asL4 wants that nothing but what may differ does.
func asL4(f *observe.Facts) runner.Verdict {
	if f.Differs == nil {
		return runner.NotRun("the renderings were not compared")
	}
	if len(*f.Differs) > 0 {
		return runner.Decided(false, "%s", strings.Join(*f.Differs, ", "))
	}
	return runner.Decided(true, "all other objects are equal")
}

// balancedBySidecar wants every proxied client to call every server about
// evenly, its proxy to have counted the same, and the client without a proxy to
// stay on one server: then it is the proxy that balances.
func balancedBySidecar(f *observe.Facts) runner.Verdict {
	p, why := f.Phase(ThroughSidecar)
	switch {
	case p == nil:
		return runner.NotRunFor(why)
	case len(p.Servers) < 2:
		return runner.NotRun("only %d server was ready: nothing to spread over", len(p.Servers))
	case len(f.Sidecars) == 0 || f.Bare == nil:
		return runner.NotRun("%d clients with and no client without a sidecar were measured", len(f.Sidecars))
	}
	even := newFairness()
	for _, s := range f.Sidecars {
		counts := distribution.Counts(s.Summary.Servers).With(p.Servers...)
		even.add(counts)
		switch {
		case counts.Total() != sidecarCalls:
			return runner.Decided(false, "%d of %d calls of %s were answered, failures %v", counts.Total(), sidecarCalls, s.Client, s.Summary.Failures)
		case len(counts.Idle()) > 0:
			return runner.Decided(false, "%s did not call %s", s.Client, strings.Join(counts.Idle(), ", "))
		case !maps.Equal(counts, distribution.Counts(s.Sent).With(p.Servers...)):
			return runner.Decided(false, "%s was answered by %v, its proxy sent to %v", s.Client, counts, s.Sent)
		}
	}
	bare := distribution.Counts(f.Bare.Servers)
	if len(bare.Servers()) != 1 {
		return runner.Decided(false, "a client without a sidecar was answered by %d servers: it is not the sidecar that balances", len(bare.Servers()))
	}
	return runner.Decided(even.holds(), "%d clients to %d servers: %s, their proxies counted the same %d calls each; without a sidecar %d calls to 1 server",
		len(f.Sidecars), len(p.Servers), even, sidecarCalls, bare.Total())
}

func balancedWithoutControlPlane(f *observe.Facts) runner.Verdict {
	p, why := f.Phase(ControlPlaneAway)
	if p == nil {
		return runner.NotRunFor(why)
	}
	if len(p.Servers) < 2 || len(p.Clients) == 0 {
		return runner.NotRun("%d clients called %d servers", len(p.Clients), len(p.Servers))
	}
	even, answered, late := newFairness(), int64(0), int64(0)
	for _, name := range p.Clients {
		windows := f.Clients[name].Between(p.Change, p.End)
		counts := observe.Calls(windows).With(p.Servers...)
		if len(counts.Idle()) > 0 {
			return runner.Decided(false, "%s did not call %s", name, strings.Join(counts.Idle(), ", "))
		}
		own := lateness(windows)
		if lost := observe.Failures(windows) - own; lost > 0 {
			return runner.Decided(false, "%d calls of %s were lost", lost, name)
		}
		even.add(counts)
		answered, late = answered+counts.Total(), late+own
	}
	enough := float64(answered) >= mostAnswered*float64(answered+late)
	return runner.Decided(even.holds() && enough, "%d calls of %d clients to %d servers in %s: %s, none lost, %d late",
		answered, len(p.Clients), len(p.Servers), runner.Seconds(p.End.Sub(p.Change).Round(100*time.Millisecond)), even, late)
}

// lateness counts the calls that missed their deadline, as on a slow machine some
// do; every other failure is a call that was lost.
func lateness(windows []calllog.Window) (late int64) {
	for _, w := range windows {
		late += w.Failures["DeadlineExceeded"]
	}
	return late
}

// encrypted looks at the servers' proxies: a connection with TLS began with a
// handshake that they counted.
func encrypted(f *observe.Facts) report.Finding {
	var all int64
	plain := []string{}
	for _, server := range slices.Sorted(maps.Keys(f.Handshakes)) {
		all += f.Handshakes[server]
		if f.Handshakes[server] == 0 {
			plain = append(plain, server)
		}
	}
	measured := fmt.Sprintf("the proxies of %d servers counted %d TLS handshakes", len(f.Handshakes), all)
	if len(plain) > 0 {
		measured += ", none at " + strings.Join(plain, ", ")
	}
	return report.Finding{Text: "the calls reach the servers' proxies encrypted", Holds: len(f.Handshakes) > 0 && len(plain) == 0, Measured: measured}
}
