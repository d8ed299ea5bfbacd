// Command echo-client calls EchoService and logs who answered.
//
// It exits with 0 when it was stopped or reached --duration, --count or
// --fresh-connections: failed calls are a measurement, and the summary counts
// them. It exits with 1 when calls were made and none was answered, when a name
// cannot be resolved, when it cannot work at all or when a second signal stopped
// it at once, and with 2 when its flags are wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-lb/grpc-lb/apps/internal/admin"
	"github.com/grpc-lb/grpc-lb/apps/internal/caller"
	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	// Two, so that a second signal is not lost while the first is handled.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], signals, os.Stdout, os.Stderr))
}

// run is main with its surroundings passed in. It returns the exit code.
func run(args []string, signals <-chan os.Signal, stdout, stderr io.Writer) int {
	opts, err := parse(args, stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return exitOK
	case err != nil:
		return usage(stderr, err)
	case opts.version:
		fmt.Fprintf(stdout, "echo-client %s %s %s/%s\n", echo.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return exitOK
	}

	printer, log := opts.outputs(stdout, stderr)
	if opts.Resolvers, err = resolvers(opts.Target, log); err != nil {
		fmt.Fprintf(stderr, "echo-client: %v\n", err)
		return exitFailed
	}
	var work func(context.Context) error
	if opts.resolve {
		if err := caller.CheckTarget(opts.Target, opts.Resolvers...); err != nil {
			return usage(stderr, err)
		}
		work = func(ctx context.Context) error { return resolve(ctx, opts, printer) }
	} else {
		client, err := caller.New(opts.Config)
		if err != nil {
			return usage(stderr, err)
		}
		work = func(ctx context.Context) error { return call(ctx, client, opts, printer, log) }
	}
	if err := untilStopped(signals, log, work); err != nil {
		fmt.Fprintf(stderr, "echo-client: %v\n", err)
		return exitFailed
	}
	return exitOK
}

func usage(stderr io.Writer, err error) int {
	line := strings.ReplaceAll(err.Error(), "\n", "; ")
	fmt.Fprintf(stderr, "echo-client: %s (echo-client --help lists the flags)\n", line)
	return exitUsage
}

// untilStopped runs work, cancels its context on the first signal, and does not
// wait for it after the second.
func untilStopped(signals <-chan os.Signal, log *slog.Logger, work func(context.Context) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	for stopping := false; ; stopping = true {
		select {
		case err := <-done:
			return err
		case sig := <-signals:
			if stopping {
				return fmt.Errorf("second signal (%v): stopped at once, without a summary", sig)
			}
			log.Info("stopping", "signal", sig.String())
			cancel()
		}
	}
}

func call(ctx context.Context, client *caller.Client, opts options, printer caller.Printer, log *slog.Logger) error {
	if opts.admin != "" {
		server, err := admin.Start(opts.admin, func(s grpc.ServiceRegistrar) {
			testgrpc.RegisterLoadBalancerStatsServiceServer(s, client.Stats())
		})
		if err != nil {
			return fmt.Errorf("%w; --admin takes another address, or '' for none", err)
		}
		defer server.Close()
		log.Info("admin server", "address", server.Addr().String())
	}
	return client.Run(ctx, printer)
}

func resolve(ctx context.Context, opts options, printer caller.Printer) error {
	ctx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	resolved, err := caller.Resolve(ctx, opts.Target, opts.Resolvers)
	if err != nil {
		return err
	}
	return printer.Print(resolved)
}
