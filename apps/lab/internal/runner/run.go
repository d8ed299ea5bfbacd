package runner

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/istio"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// Config is what a run needs.
type Config struct {
	// Overlays are those to measure.
	Overlays []Overlay
	Options
	Place
	// Istio is installed if a strategy needs it and the cluster has none; nil installs
	// nothing.
	Istio *istio.Istio
	// GatewayAPI is installed, before Istio, if a strategy has objects of it and the cluster
	// does not serve them; nil installs nothing.
	GatewayAPI Addon
	// Metrics is installed for an experiment that reads metrics.k8s.io, if the cluster
	// does not serve that; nil installs nothing.
	Metrics Addon
	// Policies is installed for an experiment that needs NetworkPolicies enforced, if it is
	// not there; nil installs nothing.
	Policies Addon
	// Deployer deploys the overlays; nil applies them as kubectl does.
	Deployer Deployer
	Judge
	Listener
}

// Options say how the overlays are measured.
type Options struct {
	// Purpose says which experiments are made; the zero value makes those of every
	// purpose alone.
	Purpose Purpose
	// Parallel is how many strategies run at once; 0 means all.
	Parallel int
	// Retries is how often strategies are measured once more, without the others,
	// when a claim about them was decided neither way or refuted.
	Retries int
	// Keep leaves the namespaces as they are.
	Keep bool
}

// Place is the cluster, and what is known of it.
type Place struct {
	Cluster cluster.Cluster
	// DNS holds the facts of the cluster's DNS.
	DNS observe.DNS
	// Disposable says that the cluster ends with the run: nobody waits until the
	// namespaces are gone.
	Disposable bool
	// Shared says that others use the cluster too: an experiment that takes something
	// away from them is left out.
	Shared bool
	// StartTime is what the first pods may take to be ready, their images' pulling
	// included; 0 is enough if the nodes have the images.
	StartTime time.Duration
}

// Judge turns what was seen into figures and violations.
type Judge struct {
	// Summarize fills in a strategy's figures and what it costs. Change is what an
	// application must change for it.
	Summarize func(f *observe.Facts, change report.Change, s *report.Strategy) error
	// Check judges the files of an overlay that a preflight looks at.
	Check func(overlay string, objects []manifest.Object) error
}

// Listener gets what happens during a run.
type Listener struct {
	// Progress gets the steps; nil is silent.
	Progress progress.Reporter
	// Judged gets the claims about each strategy as soon as they are judged, from
	// several goroutines; it may be nil. Another attempt may judge them again.
	Judged func(claims []report.Claim)
	// Live, if it is set, gets each strategy's environment instead of its experiments,
	// from several goroutines. It returns when the strategy has been watched.
	Live func(ctx context.Context, env *Environment) error
	// Failed gets why a strategy was not run, as soon as that is known; it may be nil.
	Failed func(strategy, reason string)
}

// Deployer brings overlays onto the cluster by other means than applying them.
type Deployer interface {
	// Deploy returns when all of the strategy's overlay is on the cluster.
	Deploy(ctx context.Context, strategy string) error
	// Release lets changes stand from then on that the deployer would undo.
	Release(ctx context.Context, strategy string) error
}

// release lets changes to a strategy stand from then on that a deployer would
// undo.
func (c Config) release(ctx context.Context, strategy string) error {
	if c.Deployer == nil {
		return nil
	}
	return c.Deployer.Release(ctx, strategy)
}

// Run measures the overlays and judges every claim about them. The error is
// about the run as a whole: a strategy that fails is in the result. The result
// holds what was measured before the error, too.
func Run(ctx context.Context, cfg Config) (report.Result, error) {
	return repeat(cfg.Overlays, cfg.Retries,
		func(overlays []Overlay) (report.Result, []outcome, error) { return newAttempt(cfg, overlays).run(ctx) },
		func(o Overlay) error { return cfg.release(ctx, o.Name) })
}

// repeat measures all overlays, and then up to that many times those about which
// another attempt could bring more. Release is called before an overlay is measured
// again, whose namespace is deleted first.
func repeat(overlays []Overlay, retries int, attempt func([]Overlay) (report.Result, []outcome, error), release func(Overlay) error) (report.Result, error) {
	result, outcomes, err := attempt(overlays)
	for n := 0; err == nil && n < retries; n++ {
		again := doubtful(outcomes)
		if len(again) == 0 {
			break
		}
		for _, o := range again {
			err = errors.Join(err, release(o))
		}
		if err != nil {
			break
		}
		var next report.Result
		next, outcomes, err = attempt(again)
		result = result.Again(next)
	}
	return result, err
}

// outcome is what one attempt came to for one strategy.
type outcome struct {
	overlay     Overlay
	reason      observe.Reason // why it did not run, if it did not
	row         report.Strategy
	claims      []report.Claim
	experiments []report.Experiment
}

// doubtful returns the overlays about which another attempt could bring more than
// this one did: what is busy for a moment may be so no longer. An overlay that lacks
// what it needs is not among them, nor one of which only a claim about its files is
// not proven.
func doubtful(outcomes []outcome) []Overlay {
	var again []Overlay
	for _, o := range outcomes {
		if o.reason.Kind == observe.Lacking {
			continue
		}
		if o.row.Status != report.Ran || slices.ContainsFunc(o.claims, func(c report.Claim) bool {
			return c.Status != report.Proven && !c.OutOfReach && !o.overlay.isStatic(c.ID)
		}) {
			again = append(again, o.overlay)
		}
	}
	return again
}

// isStatic tells whether a claim about the strategy is about its rendering alone.
func (s Strategy) isStatic(id int) bool {
	return slices.ContainsFunc(s.Claims, func(c Claim) bool { return c.ID == id && c.Static })
}
