package runner

import (
	"context"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/istio"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
)

// What only tests outside of the package reach for.
var (
	ClaimNamespace = claimNamespace
	Brief          = brief
	Deployment     = deployment
	Component      = component
	ConnectionAge  = connectionAge
	ChangeOf       = changeOf
	Doubtful       = doubtful
)

// The limits that tests come up to.
const (
	FewAtOnce = fewAtOnce
)

// CleanUp ends a run of l4.
func CleanUp(ctx context.Context, cfg Config, client *kube.Client) {
	r := run{cfg: cfg, strategy: Strategy{Name: "l4"}, namespace: "grpc-lb-l4"}
	r.arena = NewEnvironment(r.strategy, nil, client, observe.NewFacts(observe.Subject{Strategy: "l4", Namespace: r.namespace}))
	r.cleanUp(ctx, client)
}

// Rest makes one experiment in which strategies meet as they do at rest.
func Rest(ctx context.Context, a *Environment, q *Quiet, hold, watch func() error) error {
	a.Quiet = &q.quiet
	return a.measure(ctx, Experiment{
		Name: "rest", Meetings: 2,
		Hold:    func(context.Context, *Environment) error { return hold() },
		Observe: func(context.Context, *Environment, *observe.Phase) error { return watch() },
	})
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

// Quiet gives tests the meeting of strategies.
type Quiet struct{ quiet }

func (q *Quiet) Join() (leave func()) { return q.join() }

func (q *Quiet) Wait(ctx context.Context) error { return q.wait(ctx) }

func (q *Quiet) StartPods(ctx context.Context) (done func(), err error) { return q.startPods(ctx) }
