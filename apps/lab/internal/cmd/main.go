// Command lab runs every load balancing strategy of this repository on a real
// Kubernetes and proves or refutes what is claimed about it.
package main

//go:generate go run . docs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/builtin"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/sudo"
)

func main() {
	builtin.Main()                 // a part of a cluster is this program too
	klog.SetLogger(logr.Discard()) // client-go's lines are for its developers; errors come back
	ctx, stop := signals()
	err := newRoot().ExecuteContext(ctx)
	stop()
	if cache, noCache := cacheDir(); noCache == nil {
		if err := sudo.GiveBack(cache); err != nil {
			fmt.Fprintln(os.Stderr, "lab: "+err.Error())
		}
	}
	if err == nil {
		return
	}
	if !errors.Is(err, errSaid) {
		fmt.Fprintln(os.Stderr, "lab: "+err.Error())
	}
	if e, ok := errors.AsType[exitError](err); ok {
		os.Exit(e.code)
	}
	os.Exit(exitUsage) // cobra's own errors are about the command line
}

// signals returns a context that SIGINT, SIGTERM, SIGHUP or the end of `go run`
// cancels; a second SIGINT or SIGTERM ends the program at once.
func signals() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	caught := make(chan os.Signal, 9)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(caught, syscall.SIGHUP)
	}
	// What reads the output goes with the terminal: writing must fail, not end the
	// program before it has cleaned up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		cancel(fmt.Errorf("interrupted by %s", <-caught))
		for s := range caught {
			if s != syscall.SIGHUP { // a shell and the kernel send one each
				os.Exit(exitFindings)
			}
		}
	}()
	if parent := os.Getppid(); runBy(parent, "go") {
		// `go run` does not pass SIGTERM on, and SIGKILL cannot be.
		go func() {
			for os.Getppid() == parent {
				time.Sleep(250 * time.Millisecond) //nolint:forbidigo // no event tells that a parent is gone
			}
			cancel(errors.New("interrupted: `go run` was ended"))
		}()
	}
	return ctx, func() { cancel(nil) }
}

func runBy(pid int, program string) bool {
	comm, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "comm"))
	return err == nil && strings.TrimSpace(string(comm)) == program
}
