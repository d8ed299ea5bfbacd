// Command echo-server answers EchoService and says who it is.
//
// It exits with 0 after a drain, 1 when it cannot serve or a second signal
// stopped it at once, and 2 when its flags are wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
	"github.com/grpc-lb/grpc-lb/apps/internal/gc"
	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	gc.Rare()
	tlsfiles.WithholdKeys(os.Getenv, os.Stderr)
	// Two, so that a second signal is not lost while the first is handled.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], signals, os.Stdout, os.Stderr))
}

// run is main with its surroundings passed in. It returns the exit code.
func run(args []string, signals <-chan os.Signal, stdout, stderr io.Writer) int {
	var cfg echo.Config
	fs := pflag.NewFlagSet("echo-server", pflag.ContinueOnError)
	fs.SetOutput(stdout)
	cfg.AddFlags(fs)
	version := fs.Bool("version", false, "print the version and exit")

	err := fs.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return exitOK
	case err == nil && fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q: expected flags only", fs.Arg(0))
	case err == nil:
		if err = cfg.FromEnv(fs, os.Getenv); err == nil {
			err = cfg.Validate()
		}
	}
	if err != nil {
		line := strings.ReplaceAll(err.Error(), "\n", "; ")
		fmt.Fprintf(stderr, "echo-server: %s (echo-server --help lists the flags)\n", line)
		return exitUsage
	}
	if *version {
		fmt.Fprintf(stdout, "echo-server %s %s %s/%s\n", echo.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return exitOK
	}

	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	id := echo.IdentityFrom(os.Getenv, host, echo.Version())
	if err := echo.Run(context.Background(), cfg, id, signals, stdout); err != nil {
		fmt.Fprintf(stderr, "echo-server: %v\n", err)
		return exitFailed
	}
	return exitOK
}
