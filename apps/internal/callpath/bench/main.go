// Command bench measures what a call costs with echo-client and echo-server, beside
// grpc-go's own benchmark and ghz: all on loopback, in turns, in one run. It builds the
// programs, so it runs in its own folder:
//
//	go -C apps/internal/callpath/bench run .
//
// It exits with 0 when it has measured, even if a goal is missed, 1 when it could not, and
// 2 when its flags are wrong.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/grpc-lb/grpc-lb/apps/internal/callpath"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const help = `Measures what a call costs with echo-client and echo-server, beside grpc-go's own benchmark
and ghz. It builds all programs and runs them in turns, each in a process of its own, on
loopback. It prints the figures and says which goals are kept.

  go -C apps/internal/callpath/bench run .
  go -C apps/internal/callpath/bench run . -o json >apps/internal/callpath/measured.json

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with its surroundings passed in. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == asAccounting {
		return exit(stderr, compareAccounting(ctx, args[1:], stdout))
	}
	cfg := config{stderr: stderr}
	var output string
	fs := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	fs.SetOutput(stdout)
	fs.SortFlags = false
	fs.IntVar(&cfg.rounds, "rounds", 9, "number of rounds; all programs have a turn in each")
	fs.DurationVar(&cfg.time, "time", 2*time.Second, "time that is measured of a turn, in whole seconds")
	fs.StringVarP(&output, "output", "o", "table", "format of the output: table or json")
	fs.Usage = func() {
		fmt.Fprint(stdout, help+"Flags:\n"+fs.FlagUsages())
	}
	err := fs.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return exitOK
	case err == nil && fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q: expected flags only", fs.Arg(0))
	case err == nil && output != "table" && output != "json":
		err = fmt.Errorf("--output %q: expected table or json", output)
	case err == nil:
		err = cfg.validate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v (--help lists the flags)\n", err)
		return exitUsage
	}
	result, err := measure(ctx, cfg)
	if err == nil && output == "json" {
		err = writeJSON(stdout, result)
	} else if err == nil {
		err = callpath.Write(stdout, result)
	}
	return exit(stderr, err)
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func exit(stderr io.Writer, err error) int {
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return exitFailed
	}
	return exitOK
}
