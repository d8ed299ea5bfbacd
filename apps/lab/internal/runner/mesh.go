package runner

import (
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/istio"
)

// mesh is the control plane that strategies share. Who takes it away for an
// experiment does so while no other measures.
type mesh struct {
	addon
	inUse *semaphore.Weighted
}

// everyone is the weight of all strategies that can use a mesh at once.
const everyone = 1 << 10

// newMesh returns the mesh of an Istio; nil installs nothing.
func newMesh(i *istio.Istio) *mesh {
	m := &mesh{inUse: semaphore.NewWeighted(everyone)}
	if i != nil {
		m.what = i
	}
	return m
}

// use keeps the control plane from being taken away until done is called;
// alone, it waits until nobody else uses it.
func (m *mesh) use(ctx context.Context, alone bool) (done func(), err error) {
	weight := int64(1)
	if alone {
		weight = everyone
	}
	if err := m.inUse.Acquire(ctx, weight); err != nil {
		return nil, context.Cause(ctx)
	}
	return func() { m.inUse.Release(weight) }, nil
}
