//go:build linux

package tui_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/stage"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/stage/stagetest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/tui"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// terminal is a pseudo terminal in which a stage is shown.
type terminal struct {
	t    *testing.T
	keys *os.File
	mu   sync.Mutex
	text strings.Builder
	done chan error
}

func show(ctx context.Context, t *testing.T, s *stage.Stage) *terminal {
	t.Helper()
	keys, screen, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo terminal: %v", err)
	}
	if err := pty.Setsize(keys, &pty.Winsize{Rows: 30, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, keys: keys, done: make(chan error, 1)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 4096)
		for {
			n, err := keys.Read(b)
			term.mu.Lock()
			term.text.Write(b[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() { term.done <- tui.New(s, progress.Discard).Show(ctx, screen, screen) }()
	t.Cleanup(func() {
		_ = screen.Close()
		<-read
		_ = keys.Close()
	})
	return term
}

func (term *terminal) shown() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.text.String()
}

func (term *terminal) await(text string) {
	term.t.Helper()
	for range 400 {
		if strings.Contains(term.shown(), text) {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	term.t.Fatalf("the terminal never showed %q:\n%q", text, term.shown())
}

// In a pseudo terminal the keys choose a strategy and an action, an action that is off says
// why, and each way to end gives the terminal back.
func TestTerminal(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*terminal, context.CancelFunc)
	}{
		{"q", func(term *terminal, _ context.CancelFunc) { _, _ = term.keys.WriteString("q") }},
		{"ctrl_c", func(term *terminal, _ context.CancelFunc) { _, _ = term.keys.WriteString("\x03") }},
		{"signal", func(_ *terminal, cancel context.CancelFunc) { cancel() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			on := &stagetest.Cluster{Lacks: "out of reach here"}
			s := stage.New([]string{"l4", "k8s-api"})
			watched := make(chan error, 2)
			for _, name := range []string{"l4", "k8s-api"} {
				facts := observe.NewFacts(observe.Subject{Strategy: name, Namespace: "grpc-lb-" + name})
				env := on.Environment(runner.Strategy{Name: name, Balancer: "balancer of " + name}, facts)
				go func() { watched <- s.Watch(ctx, env) }()
			}
			term := show(ctx, t, s)
			before, err := unix.IoctlGetTermios(int(term.keys.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			term.await("balancer of k8s-api")
			if err := pty.Setsize(term.keys, &pty.Winsize{Rows: 24, Cols: 60}); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil { // as the kernel tells the program in a terminal
				t.Fatal(err)
			}
			term.await("…") // the head line is cut
			if _, err := term.keys.WriteString("\t4"); err != nil {
				t.Fatal(err)
			}
			term.await("is off: ")
			term.await("out of reach here")
			test.end(term, cancel)
			if err := <-term.done; err != nil {
				t.Errorf("showing: %v", err)
			}
			s.End()
			for range 2 {
				if err := <-watched; err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
			term.await("\x1b[?1049l") // the screen that was there before
			after, err := unix.IoctlGetTermios(int(term.keys.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("the terminal's modes (-before +after):\n%s", diff)
			}
		})
	}
}
