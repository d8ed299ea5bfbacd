package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/slow"
)

type slowOptions struct {
	config slow.Config
	output string
}

func newSlow() *cobra.Command {
	o := slowOptions{config: slow.Default()}
	cmd := &cobra.Command{
		Use:   "slow",
		Short: "Measure what one slow server costs under each balancer",
		Long: `slow starts several servers, one of which is slow, and calls them with one balancer
after another: those of gRPC and the one of this repository. For each balancing policy it prints
the slow server's share of the calls, and the latencies of the calls.

It needs no cluster and no checkout. The servers and clients are those of the programs,
but all run in this one process and talk over loopback.`,
		Example: `  go run ./apps/lab slow
  go run ./apps/lab slow --rounds 1 --slow-delay 200ms -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.execute(cmd.Context(), cmd.OutOrStdout()) },
	}
	f, c := cmd.Flags(), &o.config
	f.IntVar(&c.Servers, "servers", c.Servers, "`number` of servers, one of which is slow")
	f.DurationVar(&c.Delay, "delay", c.Delay, "`time` that each other server takes to answer")
	f.DurationVar(&c.SlowDelay, "slow-delay", c.SlowDelay, "`time` that the slow server takes to answer")
	f.Float64Var(&c.Rate, "rate", c.Rate, "`calls` per second of all clients together")
	f.IntVar(&c.Clients, "clients", c.Clients, "`number` of clients; each has its own balancer")
	f.IntVar(&c.Rounds, "rounds", c.Rounds, "`number` of rounds; each round measures every balancer once")
	f.DurationVar(&c.Time, "time", c.Time, "measured `time` of each balancer in a round, after its warm-up")
	f.StringVarP(&o.output, "output", "o", "table", "output `format`: table, json or markdown")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "markdown"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o slowOptions) execute(ctx context.Context, stdout io.Writer) error {
	if !slices.Contains([]string{"table", "json", "markdown"}, o.output) {
		return exitError{exitUsage, fmt.Errorf("--output %q: expected table, json or markdown", o.output)}
	}
	if err := o.config.Validate(); err != nil {
		return exitError{exitUsage, errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))}
	}
	o.config.Step = newPrinter(o.config.Rounds * len(o.config.Policies)).Step
	result, err := slow.Run(ctx, o.config)
	if err != nil {
		return exitError{exitFindings, err}
	}
	var failed error
	for _, p := range result.Policies {
		if p.Calls == p.Failed {
			failed = errors.Join(failed, fmt.Errorf("no call of %s was answered", p.Policy))
		}
	}
	switch o.output {
	case "json":
		err = writeJSON(stdout, result)
	case "markdown":
		_, err = io.WriteString(stdout, slow.Markdown(result))
	default:
		err = slow.Write(stdout, result)
	}
	if err = errors.Join(failed, err); err != nil {
		return exitError{exitFindings, err}
	}
	return nil
}
