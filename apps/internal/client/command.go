package client

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
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/resolver"

	"github.com/grpc-lb/grpc-lb/apps/internal/admin"
	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
	"github.com/grpc-lb/grpc-lb/apps/internal/gc"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
	"github.com/grpc-lb/grpc-lb/apps/internal/metrics"
	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// The exit codes. ExitOK is for a run that was stopped or reached its end, even
// if calls failed: they are a measurement, and the summary counts them.
const (
	ExitOK     = 0
	ExitFailed = 1 // no answer at all, no such name, cannot work, or a second signal
	ExitUsage  = 2
)

// Program is what one program adds to the command line that all share.
type Program struct {
	// Name is that of the binary; usage texts and errors start with it.
	Name string
	// Target is the form of the targets that this program alone knows.
	Target string
	// Resolvers returns the resolvers that the target needs in addition to those
	// that gRPC has registered, or why the target cannot work here.
	Resolvers func(target string, log *slog.Logger) ([]resolver.Builder, error)
	// Credentials, if set, returns credentials that fall back to others.
	Credentials func(fallback credentials.TransportCredentials) (credentials.TransportCredentials, error)
}

// Main runs the program on the process's arguments, output and signals, and
// returns its exit code.
func Main(p Program) int {
	gc.Rare()
	tlsfiles.WithholdKeys(os.Getenv, os.Stderr)
	// Two, so that a second signal is not lost while the first is handled.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	return p.Run(os.Args[1:], signals, os.Stdout, os.Stderr)
}

// Run is Main with its surroundings passed in.
func (p Program) Run(args []string, signals <-chan os.Signal, stdout, stderr io.Writer) int {
	opts, err := p.parse(args, stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return ExitOK
	case err != nil:
		return p.usage(stderr, err)
	case opts.version:
		fmt.Fprintf(stdout, "%s %s %s %s/%s\n", p.Name, echo.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return ExitOK
	}

	printer, log := opts.outputs(stdout, stderr)
	if opts.Resolvers, err = p.Resolvers(opts.Target, log); err != nil {
		return p.failed(stderr, err)
	}
	var work func(context.Context) error
	if opts.resolve {
		if err := opts.checkResolve(); err != nil {
			return p.usage(stderr, err)
		}
		work = func(ctx context.Context) error { return resolve(ctx, opts, printer) }
	} else {
		if err := opts.Validate(); err != nil {
			return p.usage(stderr, err)
		}
		work = func(ctx context.Context) error { return p.call(ctx, opts, printer, log) }
	}
	if err := untilStopped(signals, log, work); err != nil {
		return p.failed(stderr, err)
	}
	return ExitOK
}

func (p Program) usage(stderr io.Writer, err error) int {
	line := strings.ReplaceAll(err.Error(), "\n", "; ")
	fmt.Fprintf(stderr, "%s: %s (%[1]s --help lists the flags)\n", p.Name, line)
	return ExitUsage
}

func (p Program) failed(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
	return ExitFailed
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

// credentials returns those of the flags, for the target's servers.
func (p Program) credentials(opts options, log *slog.Logger) (_ credentials.TransportCredentials, closeFiles func(), err error) {
	creds, closeFiles := insecure.NewCredentials(), func() {}
	if opts.tls.On() {
		if creds, closeFiles, err = opts.tls.Credentials(log); err != nil {
			return nil, nil, err
		}
	}
	if p.Credentials != nil {
		if creds, err = p.Credentials(creds); err != nil {
			closeFiles()
			return nil, nil, err
		}
	}
	return creds, closeFiles, nil
}

func (p Program) call(ctx context.Context, opts options, printer loadgen.Printer, log *slog.Logger) error {
	if opts.metrics != "" {
		m, err := metrics.Start(opts.metrics)
		if err != nil {
			return fmt.Errorf("%w; choose another --metrics", err)
		}
		defer m.Close()
		log.Info("metrics", "address", m.Addr().String())
		opts.DialOptions = append(opts.DialOptions, m.DialOption())
	}
	creds, closeFiles, err := p.credentials(opts, log)
	if err != nil {
		return err
	}
	defer closeFiles()
	opts.Credentials = creds
	client, err := loadgen.New(opts.Config)
	if err != nil {
		return err
	}
	if opts.admin != "" {
		server, err := admin.Start(opts.admin, func(s grpc.ServiceRegistrar) {
			testgrpc.RegisterLoadBalancerStatsServiceServer(s, client.Stats())
			echopb.RegisterClientControlServiceServer(s, client.Control(log))
		})
		if err != nil {
			return fmt.Errorf("%w; --admin takes another address, or '' for none", err)
		}
		defer server.Close()
		log.Info("admin server", "address", server.Addr().String())
	}
	return client.Run(ctx, printer)
}

func resolve(ctx context.Context, opts options, printer loadgen.Printer) error {
	ctx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	resolved, err := loadgen.Resolve(ctx, opts.Target, opts.Resolvers)
	if err != nil {
		return err
	}
	return printer.Print(resolved)
}
