package experiment

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// ages is for how many ages of a connection a scale-out is watched, at the most:
// three clients then open so many that all of them miss three new pods of six
// once in 2^18 times.
const ages = 6

const ageFlag = "--max-connection-age="

// connectionAge reads from the servers' arguments the age at which they close a
// connection, 0 for never.
func connectionAge(servers *appsv1.Deployment) (time.Duration, error) {
	pod := servers.Spec.Template.Spec
	i := containerOf(pod, servers.Name)
	if i < 0 {
		return 0, fmt.Errorf("deployment %s has no container %[1]s", servers.Name)
	}
	for _, arg := range pod.Containers[i].Args {
		if value, ok := strings.CutPrefix(arg, ageFlag); ok {
			return time.ParseDuration(value)
		}
	}
	return 0, nil
}

// agedLimit is how soon connections that end by age must lead to new pods.
func agedLimit(f *Facts) time.Duration {
	limit := ages * f.ConnectionAge
	if f.byName {
		limit = max(limit, relearnLimit(f.DNS)+f.ConnectionAge+f.ConnectionAge/10) // gRPC varies the age by a tenth
	}
	return limit
}

// watchAged watches a scale-out until connections have ended by age and led to
// the new pods: those of dns to every one, those of l4 to any.
func watchAged(ctx context.Context, a *arena, p *Phase) error {
	return a.await(ctx, agedLimit(a.facts), "the clients to see the new pods", func(f *Facts) string {
		called, all := 0, 0
		for _, client := range p.Clients {
			some := false
			for _, server := range p.Added {
				all++
				if _, seen := f.Clients[client].First[server]; seen {
					called, some = called+1, true
				}
			}
			if !f.byName && !some {
				return client + " has called no new pod"
			}
		}
		if f.byName && called < all {
			return fmt.Sprintf("%d first calls are missing", all-called)
		}
		return ""
	})
}

// moves counts the connections that clients opened in a time, and how often the
// server that answered most of a window was another than in the window before.
func (f *Facts) moves(from, to time.Time, clients []string) (opened, moved int64) {
	for _, name := range clients {
		before := ""
		for _, w := range f.Clients[name].between(from, to) {
			opened += w.Opened
			most := before
			for _, server := range keys(w.Servers) {
				if w.Servers[server] > w.Servers[most] {
					most = server
				}
			}
			if before != "" && most != before {
				moved++
			}
			before = most
		}
	}
	return opened, moved
}

// spreadInTime wants new connections to lead to other servers as often as chance
// does.
func spreadInTime(f *Facts) Verdict {
	steady, why := f.phase(Steady)
	if steady == nil {
		return notRun("%s", why)
	}
	out, why := f.phase(ScaleOut)
	if out == nil {
		return notRun("%s", why)
	}
	if len(steady.Servers) < 2 || len(steady.Clients) == 0 {
		return notRun("%d clients called %d servers: there was no other to go to", len(steady.Clients), len(steady.Servers))
	}
	opened, moved := f.moves(steady.Begin, out.End, steady.Clients)
	if opened == 0 {
		return decided(false, "no connection was opened in %s", seconds(out.End.Sub(steady.Begin).Round(time.Second)))
	}
	least := leastMoves(opened, len(steady.Servers))
	return decided(moved >= least, "%d clients opened %d connections in %s, %d led to another server (chance: %d or more)",
		len(steady.Clients), opened, seconds(out.End.Sub(steady.Begin).Round(time.Second)), moved, least)
}

// leastMoves is what a fair choice among n servers exceeds within 5 sigma, and
// at least one.
func leastMoves(opened int64, n int) int64 {
	p := 1 - 1/float64(n)
	mean := float64(opened) * p
	return max(1, int64(math.Ceil(mean-5*math.Sqrt(mean*(1-p)))))
}

// agedSeesScaleOut wants connections that end by age to lead to new pods.
func agedSeesScaleOut(f *Facts) Verdict {
	out, why := f.phase(ScaleOut)
	if out == nil {
		return notRun("%s", why)
	}
	pairs := f.firstCalls(out)
	if len(pairs) == 0 || f.ConnectionAge == 0 {
		return notRun("%d servers were added beside %d clients, connections end after %s", len(out.Added), len(out.Clients), f.ConnectionAge)
	}
	limit, called, soonest, slowest := agedLimit(f), 0, time.Duration(math.MaxInt64), time.Duration(0)
	for _, c := range pairs {
		if c.Called {
			called++
			soonest, slowest = min(soonest, c.After), max(slowest, c.After)
		}
	}
	switch {
	case called == 0:
		return decided(false, "%d clients called none of %d new pods in %s", len(out.Clients), len(out.Added), seconds(f.watched(out)))
	case f.byName:
		return decided(called == len(pairs) && slowest <= limit, "%d clients made %d of %d first calls, the slowest %s after Ready",
			len(out.Clients), called, len(pairs), seconds(slowest.Round(10*time.Millisecond)))
	}
	return decided(soonest <= limit, "%d clients made %d of %d first calls in %s, the soonest %s after Ready",
		len(out.Clients), called, len(pairs), seconds(f.watched(out)), seconds(soonest.Round(10*time.Millisecond)))
}

// reconnects says what ending connections costs.
func reconnects(f *Facts, p *Phase) report.Finding {
	var opened, failed, total int64
	for _, name := range p.Clients {
		windows := f.Clients[name].between(p.Begin, p.End)
		failed += failures(windows)
		for _, w := range windows {
			opened, total = opened+w.Opened, total+w.Calls
		}
	}
	minutes := p.End.Sub(p.Begin).Minutes() * float64(max(len(p.Clients), 1))
	return report.Finding{
		Text: "connections that end by age fail no call", Holds: failed == 0 && total > 0,
		Measured: fmt.Sprintf("%.1f new connections a minute and client, %d of %d calls failed", float64(opened)/minutes, failed, total),
	}
}
