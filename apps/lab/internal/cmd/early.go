package main

import (
	"context"
	"os"
	"slices"
	"sync"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// early returns two plans in place of one where Istio must be compiled: of the
// strategies that do without it, which need not wait for that, and of the others.
// Each is measured while nothing is compiled, side by side with those of its group.
func (p *plan) early() (first, then *plan, err error) {
	if !p.mesh || p.gitops || p.options.keep || p.purpose != runner.Prove {
		return nil, nil, nil
	}
	work, err := p.builder.Work([]component.Component{component.Istio})
	if err != nil || len(work.Compile) == 0 {
		return nil, nil, err
	}
	needsMesh := func(s runner.Strategy) bool { return s.Sidecar != "" }
	first, then = p.of(func(s runner.Strategy) bool { return !needsMesh(s) }), p.of(needsMesh)
	if len(first.strategies) == 0 {
		return nil, nil, nil
	}
	first.mesh, then.ours = false, true
	return first, then, nil
}

// of is the part of the plan that is about some of the strategies.
func (p *plan) of(some func(runner.Strategy) bool) *plan {
	part := *p
	part.strategies = slices.DeleteFunc(slices.Clone(p.strategies), func(s runner.Strategy) bool { return !some(s) })
	part.named = map[string][]string{}
	for _, s := range part.strategies {
		part.named[s.Name] = p.named[s.Name]
	}
	return &part
}

// measureEarly measures all strategies, those that need no Istio before it is compiled.
func (p *plan) measureEarly(ctx context.Context, c checkout, on cluster.Cluster, disposable bool, r *progress.Printer) (report.Result, error) {
	first, then, err := p.early()
	if err != nil {
		return report.Result{}, err
	}
	if first == nil {
		return p.measure(ctx, c, on, disposable, r)
	}
	first.judged = printProven(r, report.Style{Color: colored(os.Stderr)})
	// Its pods must be gone when the others are measured, on whatever cluster.
	result, err := first.measure(ctx, c, on, false, r)
	if err != nil {
		return result, err
	}
	next, err := then.measure(ctx, c, on, disposable, r)
	return result.And(next, p.names()), err
}

func (p *plan) names() (all []string) {
	for _, s := range p.strategies {
		all = append(all, s.Name)
	}
	return all
}

// printProven prints claims between the steps as they are proven, each once.
func printProven(r *progress.Printer, style report.Style) func([]report.Claim) {
	type name struct {
		id       int
		strategy string
	}
	var mu sync.Mutex
	printed := map[name]bool{}
	return func(claims []report.Claim) {
		mu.Lock()
		defer mu.Unlock()
		var proven []report.Claim
		for _, c := range claims {
			if n := (name{c.ID, c.Strategy}); c.Status == report.Proven && !printed[n] {
				printed[n] = true
				proven = append(proven, c)
			}
		}
		r.Print(report.Claims(proven, style))
	}
}
