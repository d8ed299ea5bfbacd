package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/argocd"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/plan"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/record"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// mostRetries bounds a run that something keeps from succeeding.
const mostRetries = 9

type runOptions struct {
	only, require []string
	experiments   []string
	output        string
	verbose       bool
	keep          bool
	retries       int
	noInstall     bool
	deploy        string
	dirty         bool
	images        []string
	given         []image.Given // parsed images
	up            upOptions
	context       contextOptions
}

func newRun() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the experiments and judge every claim (the default command)",
		Long: `run deploys the overlays, measures them, and prints a table and the claims.
If this checkout's cluster is up, run uses it. If not, run boots a cluster and
takes it down at the end. With --context it uses your own cluster: it installs
only the overlays there, and deletes their namespaces at the end. If an overlay
does not have the name of a strategy, run finds its strategy in its manifests.`,
		Example: `  go run ./apps/lab                          # everything, on a cluster of its own
  go run ./apps/lab run --only dns,k8s-api   # two strategies
  go run ./apps/lab run -o json >result.json # for a program
  go run ./apps/lab run --deploy argocd      # synced by Argo CD, which is judged too
  go run ./apps/lab run --experiment stream  # one that is made on request
  go run ./apps/lab run --image docker.io/buoyantio/linkerd:1.7.5=linkerd.tar
  go run ./apps/lab run --context staging --registry ghcr.io/me/lab --push
  go run ./apps/lab up && go run ./apps/lab run --keep && go run ./apps/lab kubectl get pods -A`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), o, cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.only, "only", nil, "run only these `overlays` (default all)")
	f.StringSliceVar(&o.experiments, "experiment", nil, "make these `experiments` instead of the usual ones, with the overlays that they concern; `lab experiments` lists them")
	f.StringSliceVar(&o.require, "require", nil, "fail unless every claim about these `overlays` is proven; all means every overlay whose images the lab builds, packs or gets by --image (default: every overlay that this machine can run, and the claims that this cluster can show; none with --keep, because servers report their counts only when they stop)")
	f.StringVarP(&o.output, "output", "o", "table", "output `format`: table or json")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print for each claim what was measured, its limit and earlier attempts")
	f.BoolVar(&o.keep, "keep", false, "keep the namespaces, and keep the cluster if this run booted it")
	f.IntVar(&o.retries, "retries", 1, "how many `times` the lab measures strategies again that have an unproven claim, because a busy machine disturbs measurements; always 0 with --keep")
	f.StringVar(&o.deploy, "deploy", "apply", "`means` of deployment: apply applies the overlays; argocd syncs argocd/ by Argo CD and also judges Argo CD's claims")
	f.BoolVar(&o.dirty, "dirty", false, "with --deploy argocd: also sync uncommitted changes")
	f.StringArrayVar(&o.images, "image", nil, "`REF=FILE`: take the image REF from FILE (docker save or OCI layout) instead of packing or pulling it (repeatable)")
	f.BoolVar(&o.noInstall, "no-install", false, "install only the overlays; on a cluster without Istio, overlays that need Istio are not run")
	o.up.flags(cmd)
	o.context.flags(f)
	for _, name := range []string{"only", "require"} {
		_ = cmd.RegisterFlagCompletionFunc(name, completeOverlays)
	}
	_ = cmd.RegisterFlagCompletionFunc("experiment", completeExperiments)
	_ = cmd.RegisterFlagCompletionFunc("deploy", cobra.FixedCompletions([]string{"apply", argocd.Name}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func run(ctx context.Context, o runOptions, stdout io.Writer) error {
	if o.output != "table" && o.output != "json" {
		return exitError{exitUsage, fmt.Errorf("--output %q: expected table or json", o.output)}
	}
	if o.retries < 0 || o.retries > mostRetries {
		return exitError{exitUsage, fmt.Errorf("--retries %d: expected 0 to %d", o.retries, mostRetries)}
	}
	if o.keep {
		o.retries = 0 // the servers that are kept do not say what they counted
	}
	if o.deploy != "apply" && o.deploy != argocd.Name {
		return exitError{exitUsage, fmt.Errorf("--deploy %q: expected apply or argocd", o.deploy)}
	}
	if o.deploy != "apply" && len(o.experiments) > 0 {
		return exitError{exitUsage, fmt.Errorf("--experiment %s with --deploy %s: expected one of the two: Argo CD would undo what an experiment changes", strings.Join(o.experiments, ","), o.deploy)}
	}
	if err := o.up.check(); err != nil {
		return exitError{exitUsage, err}
	}
	if err := o.context.check(o.up, o.deploy); err != nil {
		return exitError{exitUsage, err}
	}
	c, err := findCheckout()
	if err != nil {
		return err
	}
	if o.deploy == argocd.Name && !o.dirty {
		if err := argocd.CheckClean(ctx, c.repository.Root()); err != nil {
			return exitError{exitUsage, err}
		}
	}
	if err := c.choose(&o); err != nil {
		return exitError{exitUsage, err}
	}
	if o.context.printRBAC {
		return c.printRBAC(stdout, "run", o.only, o.experiments)
	}
	lock, err := c.dirs.Lock()
	if err != nil {
		return exitError{exitNoCluster, err}
	}
	defer lock.Close()

	on, err := c.target(ctx, o)
	if err != nil {
		return err
	}
	p, err := c.plan(o, on, runner.Prove)
	if err != nil {
		return exitError{exitUsage, err}
	}
	if on.admit != nil {
		if err := on.admit(ctx); err != nil {
			return err
		}
	}
	estimate, err := p.Estimate(on.Components, runtime.NumCPU())
	if err != nil {
		return exitError{exitUsage, err}
	}
	fmt.Fprintln(os.Stderr, "lab: "+estimate)
	printer := newPrinter(p.Steps() + on.Steps)
	running, err := on.Up(ctx, printer, p.Components())
	if err != nil {
		return exitError{exitNoCluster, err}
	}
	disposable := on.Boots && !o.keep
	judged := printJudged(printer, report.Style{Color: colored(os.Stderr)})
	outcome, err := p.Run(ctx, running, plan.Execution{Disposable: disposable, Progress: printer, Judged: judged})
	if disposable {
		if downErr := on.Down(ctx); downErr != nil {
			err = errors.Join(err, fmt.Errorf("taking the cluster down: %w", downErr))
		}
	}
	if on.Boots && o.keep {
		fmt.Fprintf(os.Stderr, "lab: the %s cluster is kept: KUBECONFIG=%s; `lab down` ends it\n", running.Kind(), running.Kubeconfig())
	}
	result := outcome.Result
	if result.Started.IsZero() {
		if errors.Is(err, plan.ErrNodes) {
			return exitError{exitNoCluster, err}
		}
		return exitError{exitFindings, err}
	}
	result.Command = commandLine()
	saved, saveErr := record.Save(c.dirs.Runs(), result)
	where := ", report: " + saved.Page
	if saveErr != nil { // what was judged is judged in spite of it
		where = ""
		fmt.Fprintf(os.Stderr, "lab: no report: %v\n", saveErr)
	}
	if o.output == "json" {
		err = errors.Join(err, writeJSON(stdout, result))
	} else {
		err = errors.Join(err, report.Table(stdout, result, report.Style{Color: colored(stdout), Verbose: o.verbose}))
		fmt.Fprintf(stdout, "%s%s\n", result.Summary(), where)
	}
	if err != nil {
		return exitError{exitFindings, err}
	}
	require := o.require
	switch {
	case o.requiresAll():
		require = p.Provided()
	case require == nil:
		result = report.WithinReach(result)
		if !o.keep {
			require = outcome.Runnable
		}
	}
	if short := report.Shortcomings(result, require); len(short) > 0 {
		return exitError{report.ExitCode(result, require), errors.New(strings.Join(short, "\nlab: "))}
	}
	return nil
}

// commandLine is the command that repeats this one.
func commandLine() string {
	words := []string{"go run ./apps/lab"}
	for _, arg := range os.Args[1:] {
		if strings.ContainsAny(arg, " \t\n'\"$*?&|;<>(){}[]\\`#~!") || arg == "" {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// plan decides what a run on the target builds and measures.
func (c checkout) plan(o runOptions, on target, purpose runner.Purpose) (*plan.Plan, error) {
	b, err := c.builder(o.up.components)
	if err != nil {
		return nil, err
	}
	return plan.New(c.repository, b, plan.Options{
		Overlays: o.only, Purpose: purpose, Experiments: o.experiments, Given: o.given, NoInstall: o.noInstall, GitOps: o.deploy == argocd.Name, Keep: o.keep, Retries: o.retries,
	}, plan.Target{Nodes: on.nodes(), Registry: o.context.at})
}

// requireAll is the value of --require for all that needs no image of others.
const requireAll = "all"

func (o runOptions) requiresAll() bool { return slices.Equal(o.require, []string{requireAll}) }

// choose fills in the defaults of --only and --require and checks the names.
func (c checkout) choose(o *runOptions) error {
	known, err := c.repository.All()
	if o.deploy == argocd.Name { // which has an Application for each overlay, none for a variant
		known, err = c.repository.List()
	}
	if err != nil {
		return err
	}
	for _, value := range o.images {
		g, err := image.ParseGiven(value)
		if err != nil {
			return fmt.Errorf("--image %w", err)
		}
		o.given = append(o.given, g)
	}
	requirable := slices.Clone(known)
	required := o.require
	if o.requiresAll() {
		required = nil
	}
	if o.deploy == argocd.Name {
		requirable = append(requirable, argocd.Name)
	}
	for _, given := range []struct{ names, known []string }{{o.only, known}, {required, requirable}} {
		for _, n := range given.names {
			if !slices.Contains(given.known, n) {
				return fmt.Errorf("unknown overlay %q: expected one of %s", n, strings.Join(given.known, ", "))
			}
		}
	}
	all := len(o.only) == 0
	if all {
		candidates, err := strategy.Candidates(c.repository, o.experiments)
		if err != nil {
			return err
		}
		o.only = slices.DeleteFunc(candidates, func(n string) bool { return !slices.Contains(known, n) })
	}
	if len(o.experiments) > 0 {
		concerned, err := c.concerned(o.only, o.experiments)
		if err != nil {
			return err
		}
		if other := runner.Without(o.only, concerned); !all && len(other) > 0 {
			all, err := c.concerned(known, o.experiments)
			if err != nil {
				return err
			}
			return fmt.Errorf("--experiment %s does not concern %s: expected one or more of %s; see `lab experiments`", strings.Join(o.experiments, ","), strings.Join(other, " and "), strings.Join(all, ", "))
		}
		o.only = concerned
	}
	for _, n := range required {
		if n != argocd.Name && !slices.Contains(o.only, n) {
			return fmt.Errorf("--require %s: it is not in --only %s", n, strings.Join(o.only, ","))
		}
	}
	// A broken overlay is found before anything is built.
	for _, n := range o.only {
		if _, err := c.repository.Render(n); err != nil {
			return err
		}
	}
	return nil
}

// concerned returns those of the overlays that one of the experiments concerns.
func (c checkout) concerned(overlays, experiments []string) (names []string, err error) {
	strategies, err := strategy.Named(c.repository, overlays)
	if err != nil {
		return nil, err
	}
	some, _, err := strategy.Asking(strategies, experiments)
	for _, s := range some {
		names = append(names, s.Name)
	}
	return names, err
}
