package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/builtin"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/experiment"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

type runOptions struct {
	only, require []string
	output        string
	keep          bool
	up            upOptions
}

func newRun() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the experiments and judge every claim (the default)",
		Long: `run deploys the overlays, measures them, and prints a table and the claims.
It uses this checkout's cluster where one is up; else it boots one and takes it
down at the end.`,
		Example: `  go run ./apps/lab                          # everything, on a cluster of its own
  go run ./apps/lab run --only dns,k8s-api   # two strategies
  go run ./apps/lab run -o json >result.json # for a program
  go run ./apps/lab up && go run ./apps/lab run --keep && go run ./apps/lab kubectl get pods -A`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), o, cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.only, "only", nil, "run only these `overlays` (default all)")
	f.StringSliceVar(&o.require, "require", nil, "fail unless every claim about these `overlays` is proven (default what this machine can run)")
	f.StringVarP(&o.output, "output", "o", "table", "output `format`: table or json")
	f.BoolVar(&o.keep, "keep", false, "leave the namespaces, and a cluster that this run booted, as they are")
	o.up.flags(f)
	for _, name := range []string{"only", "require"} {
		_ = cmd.RegisterFlagCompletionFunc(name, completeOverlays)
	}
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func run(ctx context.Context, o runOptions, stdout io.Writer) error {
	if o.output != "table" && o.output != "json" {
		return exitError{exitUsage, fmt.Errorf("--output %q: expected table or json", o.output)}
	}
	c, err := findCheckout()
	if err != nil {
		return err
	}
	if err := c.choose(&o); err != nil {
		return exitError{exitUsage, err}
	}
	lock, err := c.dirs.Lock()
	if err != nil {
		return exitError{exitNoCluster, err}
	}
	defer lock.Close()

	steps := len(component.Images) + 2 + len(o.only)
	running, err := builtin.Find(c.dirs)
	if err != nil {
		return exitError{exitNoCluster, err}
	}
	up := c.upOptions(o.up, nil)
	if running == nil {
		steps += builtin.Steps()
	}
	p := newPrinter(steps)
	up.Progress, up.Detached = p, o.keep
	booted := running == nil
	if booted {
		if running, err = builtin.Up(ctx, up); err != nil {
			return exitError{exitNoCluster, err}
		}
	}
	result, err := measure(ctx, c, running, o, booted && !o.keep, p)
	if booted && !o.keep {
		if downErr := builtin.Down(ctx, c.dirs); downErr != nil {
			err = errors.Join(err, fmt.Errorf("taking the cluster down: %w", downErr))
		}
	}
	if result.Started.IsZero() {
		return exitError{exitFailed, err}
	}
	if o.output == "json" {
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false)
		err = errors.Join(err, out.Encode(result))
	} else {
		err = errors.Join(err, report.Table(stdout, result, report.Style{Color: colored(stdout)}))
	}
	if err != nil {
		return exitError{exitFailed, err}
	}
	if short := report.Shortcomings(result, o.require); len(short) > 0 {
		return exitError{report.ExitCode(result, o.require), errors.New(strings.Join(short, "\nlab: "))}
	}
	return nil
}

// choose fills in the defaults of --only and --require and checks the names.
func (c checkout) choose(o *runOptions) error {
	known, err := c.repository.List()
	if err != nil {
		return err
	}
	for _, names := range [][]string{o.only, o.require} {
		for _, n := range names {
			if !slices.Contains(known, n) {
				return fmt.Errorf("unknown overlay %q: expected one of %s", n, strings.Join(known, ", "))
			}
		}
	}
	if len(o.only) == 0 {
		o.only = known
	}
	if o.require == nil {
		o.require = slices.DeleteFunc(experiment.Runnable(), func(n string) bool { return !slices.Contains(o.only, n) })
	}
	for _, n := range o.require {
		if !slices.Contains(o.only, n) {
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

// measure puts the images onto the nodes and runs the experiments.
func measure(ctx context.Context, c checkout, on *builtin.Cluster, o runOptions, disposable bool, p progress.Reporter) (report.Result, error) {
	images, archives, err := buildImages(ctx, c, p)
	if err != nil {
		return report.Result{}, err
	}
	end := p.Step("load the images")
	err = on.LoadImages(ctx, archives...)
	end(err)
	if err != nil {
		return report.Result{}, err
	}
	return experiment.Run(ctx, experiment.Config{
		Cluster: on, Repository: c.repository, Overlays: o.only, Images: images,
		DNS:  experiment.DNS{TTL: builtin.DNSTTL * time.Second, Cache: builtin.DNSCache * time.Second},
		Keep: o.keep, Disposable: disposable, Progress: p,
	})
}

// buildImages returns the local image of each image name of the base, and their archives.
func buildImages(ctx context.Context, c checkout, p progress.Reporter) (images map[string]string, archives []string, err error) {
	b := component.Builder{Root: c.repository.Root(), Cache: c.dirs.Cache}
	version, err := component.Ko.Version(b.Root)
	if err != nil {
		return nil, nil, err
	}
	step := "build ko " + version
	b.Detail = func(text string) { p.Detail(step, text) }
	end := p.Step(step)
	ko, err := b.Build(ctx, component.Ko)
	end(err)
	if err != nil {
		return nil, nil, err
	}
	step = "build the images"
	end = p.Step(step)
	built, err := image.Build(ctx, image.Config{
		Root: b.Root, Ko: filepath.Join(ko, "ko"), Cache: filepath.Join(c.dirs.Cache, "images"), Progress: p, Step: step,
	})
	end(err)
	images = map[string]string{}
	for _, i := range built {
		images["ghcr.io/grpc-lb/"+i.Name] = i.Ref
		archives = append(archives, i.Archive)
	}
	return images, archives, err
}
