package conformance

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/controlplane"
)

// Check runs the case and returns what it has to complain about. The control plane is
// used by cases of the real API server only. Call clean to free what the case has made,
// which the subject may delay.
func (c Case) Check(ctx context.Context, s Subject, cp *controlplane.ControlPlane) (failures []string, clean func()) {
	t := &checker{}
	t.ctx, t.cancel = context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // which Fatalf ends
		defer close(done)
		c.runWith(t, s, cp)
	}()
	<-done
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.failures), t.clean
}

// checker is the part of a *testing.T that a case needs, outside of go test too.
type checker struct {
	ctx    context.Context // as a *testing.T has one
	cancel context.CancelFunc

	mu       sync.Mutex
	failures []string
	cleanups []func()
}

func (t *checker) clean() {
	t.cancel()
	t.mu.Lock()
	cleanups := slices.Clone(t.cleanups)
	t.mu.Unlock()
	for _, f := range slices.Backward(cleanups) {
		f()
	}
}

func (t *checker) Context() context.Context { return t.ctx }

func (t *checker) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func (t *checker) TempDir() string {
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (t *checker) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures = append(t.failures, fmt.Sprintf(format, args...))
}

// Fatalf ends the goroutine.
func (t *checker) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}
