package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/callpath"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
)

const (
	// asAccounting, as the first argument, makes the program compare the client of
	// package loadgen with and without its accounts.
	asAccounting = "accounting"
	// slice is how long one of the two calls before the other does: so short that both
	// meet the same machine.
	slice = 100 * time.Millisecond
)

// cost is what compareAccounting prints: CPU time per call, in microseconds.
type cost struct {
	On  float64 `json:"on"`
	Off float64 `json:"off"`
}

// addAccounting lets a process compare for a round.
func addAccounting(ctx context.Context, cfg config, to *server, a *callpath.Accounting) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p, err := start(ctx, nil, self, asAccounting, "--target", "passthrough:///"+to.address, "--time", (2 * cfg.time).String())
	if err != nil {
		return err
	}
	out, err := p.output()
	if err != nil {
		return err
	}
	var c cost
	if err := json.Unmarshal(out, &c); err != nil {
		return fmt.Errorf("%s %s: %w", self, asAccounting, err)
	}
	a.On, a.Off = append(a.On, c.On), append(a.Off, c.Off)
	return nil
}

// compareAccounting lets the client call for slices of time, in which it counts who
// answered and does not by turns, and prints what a call costs in each case.
func compareAccounting(ctx context.Context, args []string, stdout io.Writer) error {
	fs := pflag.NewFlagSet(asAccounting, pflag.ContinueOnError)
	cfg := loadgen.Config{
		Policy: "pick_first", NoServiceConfigLookup: true, Concurrency: inFlight, Timeout: time.Second, Message: message,
		KeepaliveTime: 30 * time.Second, KeepaliveTimeout: 10 * time.Second,
	}
	fs.StringVar(&cfg.Target, "target", "", "server to call")
	total := fs.Duration("time", time.Second, "time that is measured")
	if err := fs.Parse(args); err != nil {
		return err
	}
	cfg.Duration = warmUp
	if _, _, err := callFor(ctx, cfg); err != nil {
		return err
	}
	cfg.Duration = slice
	var cpu [2][]float64
	// The order is on, off, off, on, …: what changes steadily meets both.
	for i := range 4 * max(1, int(*total/(4*slice))) {
		off := (i + 1) / 2 % 2
		cfg.Unattributed = off == 1
		calls, took, err := callFor(ctx, cfg)
		if err != nil {
			return err
		}
		cpu[off] = append(cpu[off], micros(took)/float64(calls))
	}
	return writeJSON(stdout, cost{On: callpath.Median(cpu[0]), Off: callpath.Median(cpu[1])})
}

// callFor calls for the configured time and returns the calls and the CPU time of this
// process.
func callFor(ctx context.Context, cfg loadgen.Config) (calls int64, cpu time.Duration, err error) {
	client, err := loadgen.New(cfg)
	if err != nil {
		return 0, 0, err
	}
	var s summary
	before, err := ownCPU()
	if err != nil {
		return 0, 0, err
	}
	if err := client.Run(ctx, &s); err != nil {
		return 0, 0, err
	}
	after, err := ownCPU()
	return s.calls, after - before, err
}

// summary keeps the number of calls.
type summary struct{ calls int64 }

// Print takes the client's lines.
func (s *summary) Print(line calllog.Line) error {
	if l, ok := line.(*calllog.Summary); ok {
		s.calls = l.Calls
	}
	return nil
}
