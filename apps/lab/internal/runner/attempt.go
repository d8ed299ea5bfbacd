package runner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// attempt measures overlays once, side by side.
type attempt struct {
	Config
	measurements []*measurement
	shared       *shared // by the strategies
}

func newAttempt(cfg Config, overlays []Overlay) *attempt {
	a := &attempt{Config: cfg, shared: newShared(newMesh(cfg.Istio), cfg.GatewayAPI, cfg.Metrics, cfg.Policies)}
	for _, o := range overlays {
		a.measurements = append(a.measurements, &measurement{Overlay: o, in: a})
	}
	return a
}

// alone says whether a strategy has the machine to itself while it is measured.
func (a *attempt) alone() bool {
	return (len(a.measurements) == 1 || a.Parallel == 1) && a.Deployer == nil
}

// run measures, and gathers what came out.
func (a *attempt) run(ctx context.Context) (report.Result, []outcome, error) {
	result := report.Result{
		Schema: report.Schema, Started: time.Now(), Cluster: a.Cluster.Kind(), Machine: machine(), Versions: maps.Clone(a.Cluster.Versions()),
		Strategies: []report.Strategy{}, Claims: []report.Claim{}, Experiments: []report.Experiment{},
	}
	err := a.measure(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // once, not for each strategy
	}
	var outcomes []outcome
	for _, m := range a.measurements {
		o := m.outcome()
		outcomes = append(outcomes, o)
		result.Strategies = append(result.Strategies, o.row)
		result.Claims = append(result.Claims, o.claims...)
		result.Experiments = append(result.Experiments, o.experiments...)
	}
	result.Finished = time.Now()
	return result, outcomes, err
}

// measure claims every namespace before anything is changed, and then measures.
func (a *attempt) measure(ctx context.Context) error {
	config, err := a.Cluster.RESTConfig()
	if err != nil {
		return fmt.Errorf("experiment: %w", err)
	}
	client, err := kube.New(config)
	if err != nil {
		return fmt.Errorf("experiment: %w", err)
	}
	possible := slices.DeleteFunc(slices.Clone(a.measurements), func(m *measurement) bool { return m.NotRun != "" && !m.preflights() })
	if err := eachOf(ctx, 0, possible, func(ctx context.Context, m *measurement) error {
		limited, cancel := context.WithTimeout(ctx, cleanupTimeout)
		defer cancel()
		return claimNamespace(limited, client.Typed, m.Namespace)
	}); err != nil {
		return fmt.Errorf("experiment: %w", err)
	}
	return eachOf(ctx, a.Parallel, possible, func(ctx context.Context, m *measurement) error {
		joined := a.shared.join(m.Experiments, a.Purpose)
		defer joined.drop()
		err := m.run(ctx, joined, client)
		if a.Judged != nil && err == nil {
			a.Judged(m.outcome().claims)
		}
		return err
	})
}

// eachOf calls do for every measurement, some at once, and returns what failed. The end
// of one for an error does not end the others.
func eachOf(ctx context.Context, limit int, all []*measurement, do func(context.Context, *measurement) error) error {
	var group errgroup.Group
	if limit > 0 {
		group.SetLimit(limit)
	}
	failed := make([]error, len(all))
	for i, m := range all {
		group.Go(func() error {
			failed[i] = do(ctx, m)
			return nil
		})
	}
	_ = group.Wait() // its functions return nil
	return errors.Join(failed...)
}
