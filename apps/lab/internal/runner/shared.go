package runner

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// fewAtOnce is how many strategies start pods at the same time: more would
// measure the machine.
const fewAtOnce = 2

// shared is what strategies that run side by side have in common.
type shared struct {
	mesh     *mesh
	gateways *addon              // the definitions of the Gateway API
	metrics  *addon              // what serves metrics.k8s.io
	policies *addon              // what enforces NetworkPolicies
	mu       sync.Mutex          // guards barriers
	barriers map[string]*barrier // by the experiments that are made at rest
	turn     sync.Mutex          // held by the one strategy that does something alone
	starting *semaphore.Weighted // held by those that start pods
}

func newShared(m *mesh, gateways, metrics, policies Addon) *shared {
	return &shared{
		mesh: m, gateways: &addon{what: gateways}, metrics: &addon{what: metrics}, policies: &addon{what: policies},
		barriers: map[string]*barrier{}, starting: semaphore.NewWeighted(fewAtOnce),
	}
}

// membership is one strategy's part in the barriers of the experiments that it
// has not ended yet.
type membership map[string]*barrier

// join makes a strategy a member of the barriers of all experiments that it makes
// at rest.
func (s *shared) join(experiments []Experiment, purpose Purpose) membership {
	s.mu.Lock()
	defer s.mu.Unlock()
	joined := membership{}
	for _, e := range experiments {
		if !e.AtRest || !e.servesFor(purpose) {
			continue
		}
		if s.barriers[e.Name] == nil {
			s.barriers[e.Name] = &barrier{}
		}
		s.barriers[e.Name].join()
		joined[e.Name] = s.barriers[e.Name]
	}
	return joined
}

// meet waits until all strategies that make the experiment have come as far.
func (m membership) meet(ctx context.Context, experiment string) error {
	if b := m[experiment]; b != nil {
		return b.meet(ctx)
	}
	return nil
}

// leave ends an experiment for one strategy, however it went, and waits until it
// has ended for the others.
func (m membership) leave(ctx context.Context, experiment string) error {
	b := m[experiment]
	if b == nil {
		return nil
	}
	delete(m, experiment)
	return b.leave(ctx)
}

// drop lets the others go on without this strategy.
func (m membership) drop() {
	for name, b := range m {
		delete(m, name)
		b.drop()
	}
}

// alone runs do while no other strategy does something alone.
func (s *shared) alone(ctx context.Context, do func() error) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return do()
}

// startPods waits until few enough strategies start pods, and counts as one of
// them until done is called.
func (s *shared) startPods(ctx context.Context) (done func(), err error) {
	if err := s.starting.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	return sync.OnceFunc(func() { s.starting.Release(1) }), nil
}
