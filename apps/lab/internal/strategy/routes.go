package strategy

import (
	"context"
	"fmt"
	"time"

	grpccodes "google.golang.org/grpc/codes"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// Routes is the name of the experiment.
const Routes = "routes"

const (
	// splitCalls are enough to tell 90/10 from 80/20 and from 95/5 by five standard deviations.
	splitCalls   = 2000
	splitRate    = 200 // calls a second
	routeCalls   = 200
	routeRate    = 100 // calls a second
	routeTimeout = 10 * time.Second
	// newShare is the part of the calls that the new version gets.
	newShare = 0.1
	// routeHeader is the metadata that asks for the new version.
	routeHeader, routeValue = "x-version", "next"
	// pushed is how long after its status a route may still be on its way to the proxies.
	pushed = 2 * time.Second
)

var _ = makeOnRequest(Asked{
	Experiment: runner.Experiment{
		Name:   Routes,
		Steady: everyServerCalled,
		Change: fmt.Sprintf("start a new version of the servers beside the old one; let a GRPCRoute split calls by weight, choose by metadata, name a Service that is not there; add a second route for the same calls; Jobs make %d or %d calls with each", splitCalls, routeCalls),
		Rights: always(
			runner.Access{Group: "apps", Resources: []string{"deployments"}, Verbs: []string{"create", "patch", "get", "delete"}},
			runner.Access{Resources: []string{"services"}, Verbs: []string{"create", "patch", "get", "delete"}},
			runner.Access{Group: "gateway.networking.k8s.io", Resources: []string{"grpcroutes"}, Verbs: []string{"create", "patch", "get", "list", "delete"}},
		),
		Observe:    tryRoutes,
		Undo:       undoRoutes,
		Edits:      true,
		GatewayAPI: true,
	},
	Question: "What do the weights, the matches and the mistakes of a GRPCRoute do to calls?",
	Claims: []About{
		{
			Strategies: []string{"gateway"},
			Claim: runner.Claim{
				ID:        72,
				Text:      "the weights of a GRPCRoute split calls 90 to 10 between two versions",
				Criterion: of(Routes, chance("10 % of the calls reach the new version: what"), splitByWeight),
			},
		},
		{
			Strategies: []string{"gateway"},
			Claim: runner.Claim{
				ID:        73,
				Text:      "a match on metadata sends the calls that have it to the new version, and no other",
				Criterion: of(Routes, exactly(fmt.Sprintf("%d of %[1]d calls with it reach the new version, %[1]d of %[1]d without it the old one", routeCalls)), chosenByHeader),
			},
		},
		{
			Strategies: []string{"gateway"},
			Claim: runner.Claim{
				ID:        74,
				Text:      "a route that names no Service says ResolvedRefs=False, and its calls fail at once, with one code",
				Criterion: of(Routes, exactly("ResolvedRefs is False (BackendNotFound), every call fails with the same code, and none with DeadlineExceeded"), saysNoBackend),
			},
		},
		{
			Strategies: []string{"gateway"},
			Claim: runner.Claim{
				ID:        75,
				Text:      "of two routes for the same calls the older one gets them all, whatever their names",
				Criterion: of(Routes, exactly(fmt.Sprintf("%d of %[1]d calls follow the older route; once it is gone, %[1]d of %[1]d follow the other", routeCalls)), olderWins),
			},
		},
		{
			Strategies: []string{"istio"},
			Claim: runner.Claim{
				ID:        78,
				Text:      "a GRPCRoute whose parent is the Service splits the calls of sidecars 90 to 10 (GAMMA)",
				Criterion: of(Routes, chance("10 % of the calls reach the new version: what"), splitByWeight),
			},
		},
	},
})

// Routed is what was seen of routes.
type Routed struct {
	Split Share
	// With and Without are calls with the metadata that a route matches, and without it.
	With, Without Share
	// Missing is what the route said that names no Service, and Failures are the codes of
	// its calls, which have the text Error.
	Missing  string
	Nowhere  Share
	Failures map[string]int64
	Error    string
	// Older are calls that two routes take, Younger those once the older is gone.
	Older, Younger Share

	all   []calllog.Summary
	route *grpcRoute // as it was, nil before that was read
}

// Share is how many calls each version answered, and how many failed.
type Share struct{ Old, New, Failed int64 }

func (s Share) all() int64 { return s.Old + s.New + s.Failed }

// Summaries counts the Jobs' calls.
func (r *Routed) Summaries() []calllog.Summary { return r.all }

// tryRoutes gives the proxies one route after the other, and makes calls with each.
func tryRoutes(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	seen := &Routed{}
	env.Record.Update(func(*observe.Facts) { p.Evidence = seen })
	if err := startNext(ctx, env); err != nil {
		return err
	}
	route, err := theRoute(ctx, env)
	if err != nil {
		return err
	}
	seen.route = &route
	next := nextOf(env.Server)
	if _, err := apply(ctx, env, route.with(rule{to: weights{env.Server: 90, next: 10}})); err != nil {
		return err
	}
	if seen.Split, _, err = callRouted(ctx, env, seen, "split", splitCalls, splitRate); err != nil {
		return err
	}
	if !env.Strategy.Gateway {
		return nil // nothing more is claimed about a mesh
	}
	for _, try := range []func(context.Context, *runner.Environment, *Routed, grpcRoute) error{tryHeader, tryMissing, tryRival} {
		if err := try(ctx, env, seen, route); err != nil {
			return err
		}
	}
	return nil
}

func tryHeader(ctx context.Context, env *runner.Environment, seen *Routed, route grpcRoute) (err error) {
	if _, err := apply(ctx, env, route.with(rule{header: routeValue, to: weights{nextOf(env.Server): 1}}, rule{to: weights{env.Server: 1}})); err != nil {
		return err
	}
	return alongside(ctx,
		func(ctx context.Context) (err error) {
			seen.With, _, err = callRouted(ctx, env, seen, "with-metadata", routeCalls, routeRate, "--metadata="+routeHeader+"="+routeValue)
			return err
		},
		func(ctx context.Context) (err error) {
			seen.Without, _, err = callRouted(ctx, env, seen, "without-metadata", routeCalls, routeRate)
			return err
		})
}

func tryMissing(ctx context.Context, env *runner.Environment, seen *Routed, route grpcRoute) (err error) {
	if seen.Missing, err = apply(ctx, env, route.with(rule{to: weights{nextOf(env.Server) + "-missing": 1}})); err != nil {
		return err
	}
	var ran runner.ClientResult
	seen.Nowhere, ran, err = callRouted(ctx, env, seen, "missing", routeCalls, routeRate)
	seen.Failures, seen.Error = ran.Summary.Failures, ran.Failure
	return err
}

// tryRival adds a route that takes the same calls. Its name comes first in the alphabet, so
// that only its age can decide.
func tryRival(ctx context.Context, env *runner.Environment, seen *Routed, route grpcRoute) (err error) {
	if _, err := apply(ctx, env, route.with(rule{to: weights{env.Server: 1}})); err != nil {
		return err
	}
	rival := route.rival()
	if _, err := apply(ctx, env, rival.with(rule{to: weights{nextOf(env.Server): 1}})); err != nil {
		return err
	}
	if seen.Older, _, err = callRouted(ctx, env, seen, "two-routes", routeCalls, routeRate); err != nil {
		return err
	}
	if err := env.Kube.Delete(ctx, route.object()); err != nil {
		return err
	}
	if err := poll.Sleep(ctx, pushed); err != nil {
		return err
	}
	seen.Younger, _, err = callRouted(ctx, env, seen, "one-route", routeCalls, routeRate)
	return err
}

// splitByWeight wants chance to explain how many calls the new version got.
func splitByWeight(f *observe.Facts, _ *observe.Phase, _ chance) runner.Verdict {
	seen := observe.EvidenceOf[*Routed](f, Routes)
	if seen == nil || seen.Split.all() < splitCalls {
		return runner.NotRun("fewer than %d calls were made", splitCalls)
	}
	s := seen.Split
	p, plausible := share(s)
	return runner.Decided(plausible && s.Failed == 0, "of %d calls the new version answered %d, %.1f %% (p %.2g), the old one %d, %d failed",
		s.all(), s.New, 100*float64(s.New)/float64(s.all()), p, s.Old, s.Failed).With("%.1f %%", 100*float64(s.New)/float64(s.all()))
}

// chosenByHeader wants exactly the calls with the metadata at the new version.
func chosenByHeader(f *observe.Facts, _ *observe.Phase, _ exactly) runner.Verdict {
	seen := observe.EvidenceOf[*Routed](f, Routes)
	if seen == nil || seen.With.all() < routeCalls || seen.Without.all() < routeCalls {
		return runner.NotRun("fewer than %d calls were made with metadata, or without it", routeCalls)
	}
	w, o := seen.With, seen.Without
	return runner.Decided(w == Share{New: w.all()} && o == Share{Old: o.all()}, "with %s: %s, %s; without it %s", routeHeader, routeValue, w, o).
		With("%d of %d", w.New, w.all())
}

// saysNoBackend wants the status of a route without a backend, and one code for its calls
// that is no timeout. The Gateway API wants Unavailable. Istio answers with HTTP 500, which is
// Unknown to gRPC.
func saysNoBackend(f *observe.Facts, _ *observe.Phase, _ exactly) runner.Verdict {
	seen := observe.EvidenceOf[*Routed](f, Routes)
	if seen == nil || seen.Nowhere.all() < routeCalls {
		return runner.NotRun("fewer than %d calls were made", routeCalls)
	}
	proven := seen.Missing == "False (BackendNotFound)" && seen.Nowhere.Failed == seen.Nowhere.all() &&
		len(seen.Failures) == 1 && seen.Failures[grpccodes.DeadlineExceeded.String()] == 0
	return runner.Decided(proven, "ResolvedRefs is %s; %d of %d calls failed: %v, such as %.120s", seen.Missing, seen.Nowhere.Failed, seen.Nowhere.all(), seen.Failures, seen.Error).
		With("%v", observe.Keys(seen.Failures))
}

// olderWins wants all calls to follow the older route, and the younger one to work.
func olderWins(f *observe.Facts, _ *observe.Phase, _ exactly) runner.Verdict {
	seen := observe.EvidenceOf[*Routed](f, Routes)
	if seen == nil || seen.Older.all() < routeCalls || seen.Younger.all() < routeCalls {
		return runner.NotRun("fewer than %d calls were made with two routes, or with one", routeCalls)
	}
	both, one := seen.Older, seen.Younger
	return runner.Decided(both == Share{Old: both.all()} && one == Share{New: one.all()}, "two routes: %s; the younger alone: %s", both, one).
		With("%d of %d", both.Old, both.all())
}

func (s Share) String() string {
	text := fmt.Sprintf("%d calls to the old version and %d to the new one", s.Old, s.New)
	if s.Failed > 0 {
		text += fmt.Sprintf(", %d failed", s.Failed)
	}
	return text
}
