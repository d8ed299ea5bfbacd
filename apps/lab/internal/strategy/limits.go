package strategy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// The limits that several claims have, and for which experiments wait.
var (
	newPod = within{Delay: Delay{Fixed: 5 * time.Second}, Of: "of Ready"}
	// relearning is how soon a client of DNS must see new pods once it lost one: 30 s
	// is grpc-go's least interval between two look-ups, 5 s are a margin.
	relearning = Delay{Fixed: 30*time.Second + 5*time.Second, TTL: true}
	evenEnough = fair{Together: 0.95, Each: 0.80}
	mostInTime = lossless(0.95)
)

const newPodGoal = time.Second

// by decides with all that was seen.
func by[L runner.Limit](limit L, judge func(*observe.Facts, L) runner.Verdict) runner.Criterion {
	return runner.Criterion{Limit: limit, Evaluate: func(f *observe.Facts) runner.Verdict { return judge(f, limit) }}
}

// of decides with what was seen in one experiment, if that was measured.
func of[L runner.Limit](experiment string, limit L, judge func(*observe.Facts, *observe.Phase, L) runner.Verdict) runner.Criterion {
	return by(limit, func(f *observe.Facts, limit L) runner.Verdict {
		p, why := f.Phase(experiment)
		if p == nil {
			return runner.NotRunFor(why)
		}
		return judge(f, p, limit)
	})
}

// ofAdded decides with when the clients first called the servers that a
// scale-out added.
func ofAdded[L runner.Limit](limit L, judge func(f *observe.Facts, out *observe.Phase, first []observe.Pair, limit L) runner.Verdict) runner.Criterion {
	return of(ScaleOut, limit, func(f *observe.Facts, out *observe.Phase, limit L) runner.Verdict {
		first := f.FirstCalls(out)
		if len(first) == 0 {
			return runner.NotRun("%d servers were added beside %d clients", len(out.Added), len(out.Clients))
		}
		return judge(f, out, first, limit)
	})
}

// all decides by several criteria, each of which must hold.
func all(some ...runner.Criterion) runner.Criterion {
	limit := make(limits, len(some))
	for i, c := range some {
		limit[i] = c.Limit
	}
	return by(limit, func(f *observe.Facts, _ limits) runner.Verdict {
		var measured, figures []string
		for _, c := range some {
			v := c.Evaluate(f)
			if v.Status != report.Proven {
				return v
			}
			measured, figures = append(measured, v.Measured), append(figures, v.Figure)
		}
		return runner.Decided(true, "%s", strings.Join(measured, "; ")).With("%s", strings.Join(figures, ", "))
	})
}

// limits are several, each of which must be kept.
type limits []runner.Limit

func (l limits) Sentence(dns observe.DNS) string {
	all := make([]string, len(l))
	for i, one := range l {
		all[i] = one.Sentence(dns)
	}
	return strings.Join(all, "; ")
}

func (l limits) FollowsDNS() bool { return slices.ContainsFunc(l, followsDNS) }

// followsDNS tells whether the limit is another where observe.DNS trails further.
func followsDNS(l runner.Limit) bool {
	d, ok := l.(interface{ FollowsDNS() bool })
	return ok && d.FollowsDNS()
}

// exactly is a limit without a number.
type exactly string

func (e exactly) Sentence(observe.DNS) string { return string(e) }

// Delay is a time whose length may depend on the cluster's DNS.
type Delay struct {
	Fixed time.Duration
	// TTL and Cache say that the time is added for which DNS's records live, and
	// for which the cluster's observe.DNS keeps an answer.
	TTL, Cache bool
}

// In returns the delay on a cluster with this DNS.
func (d Delay) In(dns observe.DNS) time.Duration {
	sum := d.Fixed
	if d.TTL {
		sum += dns.TTL
	}
	if d.Cache {
		sum += dns.Cache
	}
	return sum
}

// FollowsDNS tells whether the delay is another where observe.DNS trails further.
func (d Delay) FollowsDNS() bool { return d.TTL || d.Cache }

// within is how soon something must happen.
type within struct {
	What string // what must happen, "" where the claim says it
	Delay
	Of string // since when, and what the delay is made of
}

func (w within) Sentence(dns observe.DNS) string {
	return strings.Join(slices.DeleteFunc([]string{w.What, "within " + runner.Seconds(w.In(dns)), w.Of}, func(part string) bool { return part == "" }), " ")
}

// chance is what a choice at random gives within distribution.Sigmas. Its text
// says of what.
type chance string

func (c chance) Sentence(observe.DNS) string {
	return fmt.Sprintf("%s chance gives within %d sigma", string(c), distribution.Sigmas)
}
