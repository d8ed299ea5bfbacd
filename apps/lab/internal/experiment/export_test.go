package experiment

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/istio"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

// What only tests outside of the package reach for.
var (
	ReadStamped    = readStamped
	ReadAudit      = readAudit
	ReadyPods      = readyPods
	ClaimNamespace = claimNamespace
	ProbeJob       = job
	IngestClient   = ingestClient
	IngestServer   = ingestServer
	Row            = row
	Findings       = findings
	Brief          = brief
	SentTo         = sentTo
	Counter        = counter
	Deployment     = deployment
	Component      = component
	ConnectionAge  = connectionAge
	AgedLimit      = agedLimit
	LeastMoves     = leastMoves
	Cost           = cost
	Proxies        = (*Facts).proxies
	ChangeOf       = changeOf
	LinkerdCounter = linkerdCounter
	Busiest        = busiest
	HostPorts      = hostPorts
	TakenPorts     = takenPorts
	MayRead        = mayRead
	PauseClients   = pauseClients
	Doubtful       = doubtful
)

// The limits that tests come up to.
const (
	TurnSettle = turnSettle
	TurnTime   = turnTime
	FewAtOnce  = fewAtOnce
)

// ClaimsOf returns what is claimed about what is measured.
func ClaimsOf(s Strategy) []Claim { return s.claims() }

// Moves counts how often clients connected, and how often to another server.
func Moves(f *Facts, from, to time.Time, clients ...string) (opened, moved int64) {
	return f.moves(from, to, clients)
}

// ProxyOf returns the account and the nodes' ports of a rendering's proxies.
func ProxyOf(s Strategy, objects []*unstructured.Unstructured) (account string, ports []int32, err error) {
	return (&run{strategy: s, objects: objects}).proxy()
}

// CleanUp ends a run of l4.
func CleanUp(ctx context.Context, cfg Config, client *kube.Client) {
	r := run{cfg: cfg, strategy: Strategy{Name: "l4"}, namespace: "grpc-lb-l4"}
	r.arena = newArena(r.strategy, nil, client, r.namespace, DNS{}, &quiet{}, func(string) {})
	r.cleanUp(ctx, client)
}

// Arena is one strategy whose pods are there already.
type Arena struct{ *arena }

// NewArena returns one on a cluster that need not exist.
func NewArena(on cluster.Cluster, f *Facts, pods ...*corev1.Pod) Arena {
	a := newArena(Strategy{Name: f.Strategy}, on, &kube.Client{}, f.Namespace, f.DNS, &quiet{}, func(string) {})
	a.facts = f
	a.record = newRecord(f)
	for _, p := range pods {
		a.pods[p.Name] = p
	}
	return Arena{a}
}

func (a Arena) Turn(ctx context.Context) (*Turn, error)         { return a.turn(ctx) }
func (a Arena) KillBusiest(ctx context.Context, p *Phase) error { return killBusiest(ctx, a.arena, p) }
func (a Arena) ListProcesses(ctx context.Context, p *Phase) error {
	return listProcesses(ctx, a.arena, p)
}

// Rest makes one experiment in which strategies meet as they do at rest.
func (a Arena) Rest(ctx context.Context, q *Quiet, hold, observe func() error) error {
	a.quiet = &q.quiet
	return a.measure(ctx, Experiment{
		Name: "rest", meetings: 2,
		hold:    func(context.Context, *arena) error { return hold() },
		observe: func(context.Context, *arena, *Phase) error { return observe() },
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

func (q *Quiet) Join() (leave func())           { return q.join() }
func (q *Quiet) Wait(ctx context.Context) error { return q.wait(ctx) }

func (q *Quiet) Alone(ctx context.Context, do func() error) error       { return q.alone(ctx, do) }
func (q *Quiet) StartPods(ctx context.Context) (done func(), err error) { return q.startPods(ctx) }

// findings returns what the named experiment asserts about the facts.
func findings(name string, f *Facts) []string {
	var all []string
	var walk func([]Experiment)
	walk = func(es []Experiment) {
		for _, e := range es {
			if e.Name == name && e.assert != nil {
				for _, found := range e.assert(f, f.Phases[name]) {
					mark := "no: "
					if found.Holds {
						mark = "yes: "
					}
					all = append(all, mark+found.Text+": "+found.Measured)
				}
			}
			walk(e.inner)
		}
	}
	walk(Experiments)
	return all
}
