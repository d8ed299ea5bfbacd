package plan

import (
	"context"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// split returns two plans in place of one where Istio must be compiled: of the
// strategies that do without it, which need not wait for that, and of the others.
// Each is measured while nothing is compiled, side by side with those of its group.
// It returns nil where everything is measured at once.
func (p *Plan) split() (first, then *Plan, err error) {
	if !p.mesh || p.GitOps || p.Keep || p.Purpose != runner.Prove {
		return nil, nil, nil
	}
	work, err := p.builder.Work([]component.Component{component.Istio})
	if err != nil || len(work.Compile) == 0 {
		return nil, nil, err
	}
	first, then = p.of(func(s runner.Strategy) bool { return !s.NeedsMesh() }), p.of(runner.Strategy.NeedsMesh)
	if len(first.strategies) == 0 {
		return nil, nil, nil
	}
	first.mesh, first.gateways = false, false
	return first, then, nil
}

// of is the part of the plan that is about some of the strategies.
func (p *Plan) of(some func(runner.Strategy) bool) *Plan {
	part := *p
	part.strategies = slices.DeleteFunc(slices.Clone(p.strategies), func(s runner.Strategy) bool { return !some(s) })
	part.named = map[string][]string{}
	for _, s := range part.strategies {
		part.named[s.Name] = p.named[s.Name]
	}
	return &part
}

// Outcome is what a run found.
type Outcome struct {
	report.Result
	// Runnable names the strategies that this machine could run, and Argo CD where it
	// was judged.
	Runnable []string
}

// Run builds and measures the plan on a cluster. If Istio must be compiled, it first
// measures the strategies that need no Istio.
func (p *Plan) Run(ctx context.Context, on cluster.Cluster, e Execution) (Outcome, error) {
	first, then, err := p.split()
	if err != nil {
		return Outcome{}, err
	}
	if first == nil {
		result, had, err := p.supplyAndMeasure(ctx, on, nil, e)
		return Outcome{result, p.runnable(had)}, err
	}
	// Its pods must be gone when the others are measured, also on a cluster that ends
	// with the run.
	early := e
	early.Disposable = false
	result, had, err := first.supplyAndMeasure(ctx, on, nil, early)
	if err != nil {
		return Outcome{result, first.runnable(had)}, err
	}
	next, last, err := then.supplyAndMeasure(ctx, on, had, e)
	return Outcome{result.And(next, p.names()), p.runnable(had, last)}, err
}

func (p *Plan) supplyAndMeasure(ctx context.Context, on cluster.Cluster, had *Supplies, e Execution) (report.Result, *Supplies, error) {
	supplies, err := p.Supply(ctx, on, had, e.Progress)
	if err != nil {
		return report.Result{}, nil, err
	}
	result, err := p.Measure(ctx, on, supplies, e)
	return result, supplies, err
}
