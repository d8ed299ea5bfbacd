package conformance

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/conformance/controlplane"
)

// Check runs the case outside of go test, and returns what it has to complain about.
// Call clean to free what the case has made, which the subject may delay.
func (c Case) Check(ctx context.Context, s Subject, cp *controlplane.ControlPlane) (failures []string, clean func()) {
	t := &checker{}
	t.ctx, t.cancel = context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // which Fatalf ends
		defer close(done)
		c.Run(t, s, cp)
	}()
	<-done
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.failures), t.clean
}

// checker is a T that keeps failures.
type checker struct {
	ctx    context.Context // what a T has
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

func (t *checker) Helper()                  {}
func (t *checker) Context() context.Context { return t.ctx }
func (t *checker) Logf(string, ...any)      {}

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

func (t *checker) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}
