package strategy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

const (
	// atTheLimit is the share of its CPU limit from which a server counts as held by it:
	// the kernel stops it for the rest of every period that it uses up.
	atTheLimit = 0.9
	// tolerated is by how much the average may miss the target before an HPA acts
	// (kube-controller-manager --horizontal-pod-autoscaler-tolerance).
	tolerated = 0.1
	// answered is the least share of calls that servers with room for more must answer.
	answered = 0.95
	// settleTime is longer than it takes until an HPA acts: a window of metrics-server's,
	// 10 s, and two of the HPA's intervals, 15 s each.
	settleTime = 45 * time.Second
)

const (
	aboveTarget = exactly("every called server uses more than 10 % above the HPA's target, the others, with all new ones, get no call, and the HPA wants no other number")
	onTarget    = exactly("every server is called and uses < 90 % of its CPU limit, and the average is at most 10 % above the HPA's target")
)

// Scaled is evidence of what an HPA did.
type Scaled struct {
	// Limit is the CPU limit of each server in millicores.
	Limit int64
	// Looks are in the order of time.
	Looks []Look
}

// Look is what was seen of the HPA and of the servers at one moment.
type Look struct {
	At     time.Time
	Wanted int // how many servers the HPA wants, 0 before it has decided
	Ready  []string
	// Millicores is what each server uses, by pod. One that is missing was not measured
	// since it was ready and the load was raised.
	Millicores map[string]float64
}

// text says what the servers use.
func (l Look) text(limit int64) string {
	if len(l.Millicores) == 0 {
		return fmt.Sprintf("%d are ready, none is measured yet", len(l.Ready))
	}
	return fmt.Sprintf("%d are ready, %d are measured and use %.0f %% of the limit on average", len(l.Ready), len(l.Millicores), 100*mean(l.Millicores)/float64(limit))
}

// settled returns the looks of the last while, if nothing changed meanwhile: the HPA wanted
// as many servers as were ready, always the same, and all were measured.
func (s *Scaled) settled() (since []Look, settled bool) {
	for i, l := range slices.Backward(s.Looks) {
		last := s.Looks[len(s.Looks)-1]
		if l.Wanted != last.Wanted || l.Wanted != len(l.Ready) || len(l.Millicores) != len(l.Ready) || !slices.Equal(l.Ready, last.Ready) {
			return s.Looks[i+1:], false
		}
		if last.At.Sub(l.At) >= settleTime {
			return s.Looks[i:], true
		}
	}
	return s.Looks, false
}

// load is what was seen while the HPA wanted no change.
type load struct {
	servers int
	// share is what each server used of its limit, 1 for all of it, and average what all did.
	share   map[string]float64
	average float64
	calls   distribution.Counts // by server
	failed  int64
	settled time.Duration // since the load was raised
}

// loadAtRest returns nil if the HPA did not settle.
func loadAtRest(f *observe.Facts, p *observe.Phase) *load {
	seen, _ := p.Evidence.(*Scaled)
	if seen == nil {
		return nil
	}
	looks, settled := seen.settled()
	if !settled {
		return nil
	}
	from, to := looks[0].At, looks[len(looks)-1].At
	l := &load{servers: len(looks[0].Ready), share: map[string]float64{}, settled: from.Sub(p.Change)}
	for _, name := range looks[0].Ready {
		for _, look := range looks {
			l.share[name] += look.Millicores[name] / float64(seen.Limit) / float64(len(looks))
		}
	}
	l.average = mean(l.share)
	l.calls = distribution.Counts{}.With(looks[0].Ready...)
	for _, name := range p.Clients {
		windows := f.Clients[name].Between(from, to)
		l.calls = l.calls.Plus(observe.Calls(windows))
		l.failed += observe.Failures(windows)
	}
	return l
}

func mean(of map[string]float64) float64 {
	sum := 0.0
	for _, v := range of {
		sum += v
	}
	return sum / float64(max(len(of), 1))
}

// busiest returns the server that used the largest share of its limit.
func (l *load) busiest() (busiest string) {
	for _, name := range observe.Keys(l.share) {
		if busiest == "" || l.share[name] > l.share[busiest] {
			busiest = name
		}
	}
	return busiest
}

// starved says why the load tells nothing: calls failed though the server had not used up
// what it may use. Then others took the machine's CPU.
func (l *load) starved(server string) (why runner.Verdict, starved bool) {
	if all := l.calls.Total() + l.failed; float64(l.failed) > (1-answered)*float64(all) && l.share[server] < atTheLimit {
		return runner.NotRun("the machine gave the servers less CPU than they may use: %d of %d calls failed, and %s used %.0f %% of its limit", l.failed, all, server, 100*l.share[server]), true
	}
	return why, false
}

func (l *load) String() string {
	return fmt.Sprintf("%d servers after %s, %.0f %% of the limit on average, %.0f %% at most; %d of %d calls failed", l.servers, runner.Seconds(l.settled.Round(time.Second)),
		100*l.average, 100*l.share[l.busiest()], l.failed, l.calls.Total()+l.failed)
}

// unsettled says what was seen of an HPA that did not come to rest.
func unsettled(p *observe.Phase) runner.Verdict {
	seen, _ := p.Evidence.(*Scaled)
	if seen == nil || len(seen.Looks) == 0 {
		return runner.NotRun("the HPA was not watched")
	}
	last := seen.Looks[len(seen.Looks)-1]
	return runner.Decided(false, "the HPA did not settle in %s: it wants %d servers, %s", runner.Seconds(last.At.Sub(p.Change).Round(time.Second)), last.Wanted, last.text(seen.Limit))
}

// mostWanted is the share of its limit above which the HPA would not let the average be.
const mostWanted = (1 + tolerated) * hpaTarget / 100

// stalls wants that the HPA is content although the servers that are called use more than it
// wants: others are idle, and what it added is among these.
func stalls(f *observe.Facts, p *observe.Phase, _ exactly) runner.Verdict {
	l := loadAtRest(f, p)
	if l == nil {
		return unsettled(p)
	}
	idle := l.calls.Idle()
	called := runner.Without(l.calls.Servers(), idle)
	for _, name := range called {
		if why, starved := l.starved(name); starved {
			return why
		}
		if l.share[name] <= mostWanted {
			return runner.Decided(false, "%s is called and uses %.0f %% of its limit: %s", name, 100*l.share[name], l)
		}
	}
	if reached := runner.Without(p.Added, idle); len(reached) > 0 {
		return runner.Decided(false, "new servers are called: %s: %s", strings.Join(reached, ", "), l)
	}
	content := l.average <= mostWanted
	return runner.Decided(len(called) > 0 && len(idle) > 0 && content, "%d of %d servers above the target, %d without a call, %d of these new: %s", len(called), l.servers, len(idle), len(p.Added), l).
		With("%d of %d above the target, %d idle", len(called), l.servers, len(idle))
}

// settles wants that the HPA's servers share the load.
func settles(f *observe.Facts, p *observe.Phase, _ exactly) runner.Verdict {
	l := loadAtRest(f, p)
	if l == nil {
		return unsettled(p)
	}
	if idle := l.calls.Idle(); len(idle) > 0 {
		return runner.Decided(false, "%s got no call: %s", strings.Join(idle, ", "), l)
	}
	if why, starved := l.starved(l.busiest()); starved {
		return why
	}
	content := l.average <= mostWanted
	return runner.Decided(len(p.Added) > 0 && content && l.share[l.busiest()] < atTheLimit, "%d servers became %s", len(p.Servers), l).
		With("%d servers at %.0f %%", l.servers, 100*l.average)
}
