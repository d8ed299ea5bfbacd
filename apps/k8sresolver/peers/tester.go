package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
)

// tester is a conformance.T outside of go test.
type tester struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	failures []string
	cleanups []func()
}

// run runs a case and returns what it has to complain about.
func run(f func(*tester)) []string {
	t := &tester{}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // which Fatalf ends
		defer close(done)
		f(t)
	}()
	<-done
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures
}

// clean frees what the case has made.
func (t *tester) clean() {
	t.cancel()
	t.mu.Lock()
	cleanups := slices.Clone(t.cleanups)
	t.mu.Unlock()
	for _, f := range slices.Backward(cleanups) {
		f()
	}
}

func (t *tester) Helper()                  {}
func (t *tester) Context() context.Context { return t.ctx }
func (t *tester) Logf(string, ...any)      {}

func (t *tester) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func (t *tester) TempDir() string {
	dir, err := os.MkdirTemp("", "peers-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (t *tester) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures = append(t.failures, fmt.Sprintf(format, args...))
}

func (t *tester) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}
