package runner

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/istio"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

// mesh is the control plane that strategies share: the first that needs it
// installs it, the last that used it removes it, and who takes it away for an
// experiment does so while no other measures.
type mesh struct {
	istio *istio.Istio // nil installs nothing
	inUse *semaphore.Weighted

	mu        sync.Mutex
	users     int
	installed string // what was installed, "" where the cluster had it
	failed    error  // why that was not all of it
}

// everyone is the weight of all strategies that can use a mesh at once.
const everyone = 1 << 10

func newMesh(i *istio.Istio) *mesh { return &mesh{istio: i, inUse: semaphore.NewWeighted(everyone)} }

// join installs the control plane unless it is there, and says what it
// installed. Who joined leaves, even after an error.
func (m *mesh) join(ctx context.Context, client *kube.Client, note func(string, ...any)) (installed string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users++
	if m.istio == nil || m.installed != "" {
		return m.installed, m.failed
	}
	there, err := istio.Installed(ctx, client)
	if err != nil || there {
		return "", err
	}
	what, err := m.istio.Describe()
	if err != nil {
		return "", err
	}
	m.installed = what
	note("install %s", what)
	begin := time.Now()
	if m.failed = m.istio.Install(ctx, client); m.failed == nil {
		note("istiod was ready after %s", Seconds(time.Since(begin).Round(10*time.Millisecond)))
	}
	return m.installed, m.failed
}

// leave removes what was installed when nobody uses it any more.
func (m *mesh) leave(ctx context.Context, client *kube.Client, note func(string, ...any)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users--; m.users > 0 || m.installed == "" {
		return
	}
	note("remove Istio")
	if err := m.istio.Remove(ctx, client); err != nil {
		note("%v", err)
	}
	m.installed, m.failed = "", nil
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
