package runner

import (
	"context"
	"errors"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/istio"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// What only tests outside of the package reach for.
var (
	ClaimNamespace = claimNamespace
	JobOf          = ClientJob.job
	ClientLog      = clientLog
	Brief          = brief
	Deployment     = deployment
	Component      = component
	Duration       = duration
	ChangeOf       = changeOf
	Doubtful       = doubtful
	Repeat         = repeat
	ConditionOf    = conditionOf
)

// The limits that tests come up to.
const (
	FewAtOnce = fewAtOnce
)

// Outcome is what an attempt came to.
type Outcome = outcome

// OutcomeOf is one with claims.
func OutcomeOf(s Strategy, status report.Status, why observe.Reason, claims ...report.Claim) Outcome {
	return outcome{overlay: Overlay{Strategy: s}, reason: why, row: report.Strategy{Name: s.Name, Status: status}, claims: claims}
}

// CleanUp ends a run of l4.
func CleanUp(ctx context.Context, cfg Config, client *kube.Client) {
	o := Overlay{Strategy: Strategy{Name: "l4"}, Namespace: "grpc-lb-l4"}
	m := newAttempt(cfg, []Overlay{o}).measurements[0]
	m.env = NewEnvironment(o.Strategy, nil, client, observe.NewFacts(observe.Subject{Strategy: o.Name, Namespace: o.Namespace}))
	m.cleanUp(ctx, client)
}

// ServeGateways prepares a strategy with a Gateway, and returns why it cannot be run.
func ServeGateways(ctx context.Context, cfg Config, client *kube.Client) observe.Reason {
	o := Overlay{Strategy: Strategy{Name: "gateway", Gateway: true}}
	m := newAttempt(cfg, []Overlay{o}).measurements[0]
	m.env = NewEnvironment(o.Strategy, nil, client, observe.NewFacts(observe.Subject{Strategy: o.Name}))
	if err := m.serveGateways(ctx, client); err != nil {
		return reasonOf(err)
	}
	return observe.Reason{}
}

// MakeReadingMetrics makes an experiment of l4 that reads metrics.k8s.io, and returns why
// it was left out.
func MakeReadingMetrics(ctx context.Context, cfg Config, client *kube.Client, act func()) observe.Reason {
	e := Experiment{
		Name: "reads-metrics", Metrics: true,
		Steady:  State{Hold: func(context.Context, *Environment) error { return nil }},
		Observe: func(context.Context, *Environment, *observe.Phase) error { act(); return nil },
	}
	o := Overlay{Strategy: Strategy{Name: "l4", Experiments: []Experiment{e}}}
	m := newAttempt(cfg, []Overlay{o}).measurements[0]
	m.env = NewEnvironment(o.Strategy, nil, client, observe.NewFacts(observe.Subject{Strategy: o.Name}))
	if err := m.experiment(ctx, client, e); err != nil {
		return observe.Reason{Text: err.Error()}
	}
	return m.env.facts.Phases[e.Name].NotMeasured
}

// MeasureUnderPolicies makes an experiment of l4 that puts policies in force, which fails with
// the error, and then another. It returns why l4 was not run.
func MeasureUnderPolicies(ctx context.Context, fails error, other func()) error {
	hold := State{Hold: func(context.Context, *Environment) error { return nil }}
	o := Overlay{Strategy: Strategy{Name: "l4", Experiments: []Experiment{
		{Name: "policies", Policies: true, Steady: hold, Act: func(context.Context, *Environment, *observe.Phase) error { return fails }},
		{Name: "usual", Steady: hold, Act: func(context.Context, *Environment, *observe.Phase) error {
			other()
			return errors.New("made")
		}},
	}}}
	m := newAttempt(Config{Options: Options{Purpose: Compare}}, []Overlay{o}).measurements[0]
	m.env = NewEnvironment(o.Strategy, nil, nil, observe.NewFacts(observe.Subject{Strategy: o.Name}))
	return m.experiments(ctx, nil)
}

// Together gives tests what strategies share that make an experiment at rest.
type Together struct {
	*shared
	rest []Experiment
}

func NewTogether() Together {
	rest := []Experiment{{Name: "first", AtRest: true}, {Name: "second", AtRest: true}}
	return Together{newShared(nil, nil, nil, nil), rest}
}

func (t Together) Join() Member {
	return Member{t.join(t.rest, Any), t}
}
func (t Together) Alone(ctx context.Context, do func() error) error { return t.alone(ctx, do) }
func (t Together) StartPods(ctx context.Context) (done func(), err error) {
	return t.startPods(ctx)
}

// Member is one strategy of several.
type Member struct {
	joined   membership
	together Together
}

func (m Member) Drop()                           { m.joined.drop() }
func (m Member) Meet(ctx context.Context) error  { return m.joined.meet(ctx, m.together.rest[0].Name) }
func (m Member) Leave(ctx context.Context) error { return m.joined.leave(ctx, m.together.rest[0].Name) }

// Rest makes the first or the second experiment in an environment.
func (m Member) Rest(ctx context.Context, env *Environment, n int, hold, watch func() error) error {
	env.shared, env.barriers = m.together.shared, m.joined
	e := m.together.rest[n]
	e.Steady.Hold = func(context.Context, *Environment) error { return hold() }
	e.Observe = func(context.Context, *Environment, *observe.Phase) error { return watch() }
	return env.measure(ctx, e)
}

// Mesh gives tests the control plane that strategies share.
type Mesh struct{ *mesh }

func NewMesh(i *istio.Istio) Mesh { return Mesh{newMesh(i)} }

func (m Mesh) Use(ctx context.Context, alone bool) (done func(), err error) { return m.use(ctx, alone) }

func (m Mesh) Join(ctx context.Context, client *kube.Client, note func(string, ...any)) (installed string, err error) {
	return m.join(ctx, client, note)
}

func (m Mesh) Leave(ctx context.Context, client *kube.Client, note func(string, ...any)) {
	m.leave(ctx, client, note)
}
