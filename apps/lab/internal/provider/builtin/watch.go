//go:build linux

package builtin

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/node"
)

// watched is a node of this process's making whose events are followed.
type watched struct {
	*node.Node

	mu      sync.Mutex
	states  map[string]node.State
	changed chan struct{} // closed and replaced at each change
}

// follow collects the node's events until it ends. The first process that fails
// ends the work by its cause.
func (w *watched) follow(d Dirs, fail context.CancelCauseFunc) {
	for e := range w.Events() {
		w.set(e.Process, e.State)
		if e.State == node.Failed {
			fail(fmt.Errorf("%s: %s failed: %s; the end of its log (%s):\n%s",
				w.Name, e.Process, e.Error, d.log(w.Name, e.Process), d.tail(w.Name, e.Process)))
		}
	}
	fail(fmt.Errorf("%s ended; the end of its log (%s):\n%s", w.Name, d.log(w.Name, "node"), d.tail(w.Name, "node")))
}

func (w *watched) set(process string, s node.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.states[process] = s
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *watched) wait(ctx context.Context, process string, want node.State) error {
	for {
		w.mu.Lock()
		have, changed := w.states[process], w.changed
		w.mu.Unlock()
		if have == want {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (d Dirs) tail(name, process string) string {
	out, err := os.ReadFile(d.log(name, process))
	if err != nil {
		return "  " + err.Error()
	}
	return lastLines(out, 8)
}
