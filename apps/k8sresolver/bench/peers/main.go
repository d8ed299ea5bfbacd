// Command peers runs k8sresolver and the other resolvers of Kubernetes Services for Go,
// unmodified, against the conformance suite and measures them, all in one run:
//
//	go -C apps/k8sresolver/bench/peers run .
//
// It prints a table and writes the JSON from which the suite's README is generated. Flags
// choose a part of it; what was run before of the rest stays in the JSON with -keep:
//
//	go -C apps/k8sresolver/bench/peers run . -run endless -experiments list -keep
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/report"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1
	exitMisused = 2
)

func main() {
	if job := os.Getenv(jobVariable); job != "" {
		os.Exit(work(job))
	}
	os.Exit(command(os.Args[1:]))
}

func command(args []string) int {
	cfg, err := parse(args, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitMisused
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := compare(ctx, cfg, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitOK
}

type options struct {
	output   string
	only     *regexp.Regexp // names of cases
	peers    *regexp.Regexp
	parallel int
	figures  bool
	chosen   *regexp.Regexp // names of experiments
	rounds   int
	keep     bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("peers", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.output, "o", "../conformance/results.json", "file for the JSON; empty writes none")
	only := flags.String("run", "", "run the cases whose name matches the expression")
	named := flags.String("peers", "", "run the resolvers whose name matches the expression")
	flags.IntVar(&o.parallel, "parallel", 6*runtime.NumCPU(), "cases at a time; they wait more than they compute")
	flags.BoolVar(&o.figures, "figures", true, "measure as well")
	experiments := flags.String("experiments", "", "measure by the experiments whose name matches the expression: "+strings.Join(experimentNames(), ", "))
	flags.BoolVar(&o.keep, "keep", false, "keep what the file of -o has of what does not run now")
	flags.IntVar(&o.rounds, "rounds", 5, "how often each figure is measured, of which the median counts")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var err error
	if o.only, err = regexp.Compile(*only); err == nil {
		o.peers, err = regexp.Compile(*named)
	}
	if err == nil {
		o.chosen, err = regexp.Compile(*experiments)
	}
	if err == nil && o.keep && o.output == "" {
		err = errors.New("peers: -keep needs the file of -o, which is empty; expected both or none")
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("peers: %q is no flag; expected none but flags", flags.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
	}
	return o, err
}

// compare runs everything and prints the table.
func compare(ctx context.Context, o options, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var chosen []peer
	for _, p := range peers() {
		if o.peers.MatchString(p.Name) {
			chosen = append(chosen, p)
		}
	}
	r := report.Report{Machine: report.Machine()}
	for _, p := range peers() {
		if o.keep || o.peers.MatchString(p.Name) {
			r.Subjects = append(r.Subjects, report.Subject{Name: p.Name, Version: p.version()})
		}
	}
	r.Subjects = append(r.Subjects, absent...)
	var kept report.Report
	if o.keep {
		if kept, err = report.Read(o.output); err != nil {
			return err
		}
		if err := r.Comparable(kept); err != nil { // before the work
			return fmt.Errorf("peers: -keep: %s: %w", o.output, err)
		}
	}
	if r.Cases, err = runCases(ctx, o, chosen, dir); err != nil {
		return err
	}
	if o.figures {
		if r.Figures, err = measure(ctx, o, chosen, dir); err != nil {
			return err
		}
	}
	r.Keep(kept)
	for _, c := range r.Cases {
		for _, p := range chosen {
			if result := c.Results[p.Name]; strings.HasPrefix(result, "failed") {
				fmt.Fprintf(stdout, "%-14s %s: %s\n", p.Name, c.Name, result)
			}
		}
	}
	fmt.Fprintf(stdout, "\n%s", r.Summary())
	if o.output == "" {
		return nil
	}
	return r.Write(o.output)
}
