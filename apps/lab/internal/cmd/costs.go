package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/plan"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/registry"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/record"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

const maxRuns = 50

type costsOptions struct {
	run    runOptions
	runs   int
	from   string
	update []string
}

func newCosts() *cobra.Command {
	var o costsOptions
	cmd := &cobra.Command{
		Use:   "costs",
		Short: "Measure what each strategy costs, side by side",
		Long: `costs deploys all strategies on one cluster. In each run it calls one strategy
at a time, at a fixed rate, and then scales out, restarts and kills servers. It
prints the medians over the runs and does not judge claims. It also writes a page
with the tables and how long the calls took, and prints where.`,
		Example: `  go run ./apps/lab costs
  go run ./apps/lab costs --runs 1 --only k8s-api,envoy
  go run ./apps/lab costs -o json >costs.json
  go run ./apps/lab costs --from costs.json -o markdown`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.execute(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.run.only, "only", nil, "compare only these `overlays` (default all)")
	f.IntVar(&o.runs, "runs", 5, "`number` of runs")
	f.StringVar(&o.from, "from", "", "read the `file` that -o json wrote, and measure nothing")
	f.StringArrayVar(&o.update, "update", nil, "also write the tables and the guide into this Markdown `file`, between its marks (repeatable)")
	f.StringVarP(&o.run.output, "output", "o", "table", "output `format`: table, json or markdown")
	f.StringArrayVar(&o.run.images, "image", nil, "`REF=FILE`: take the image REF from FILE (docker save or OCI layout) instead of packing or pulling it (repeatable)")
	f.BoolVar(&o.run.noInstall, "no-install", false, "install only the overlays")
	o.run.up.flags(cmd)
	_ = cmd.RegisterFlagCompletionFunc("only", completeOverlays)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "markdown"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o costsOptions) execute(ctx context.Context, stdout io.Writer) error {
	if !slices.Contains([]string{"table", "json", "markdown"}, o.run.output) {
		return exitError{exitUsage, fmt.Errorf("--output %q: expected table, json or markdown", o.run.output)}
	}
	if o.runs < 1 || o.runs > maxRuns {
		return exitError{exitUsage, fmt.Errorf("--runs %d: expected 1 to %d", o.runs, maxRuns)}
	}
	if err := o.run.up.check(); err != nil {
		return exitError{exitUsage, err}
	}
	counted, err := registry.All(dirs.Dirs{}, "").With(o.run.up.cluster, func(k provider.Kind) bool { return k.Usage })
	if err != nil {
		return exitError{exitUsage, fmt.Errorf("the containers' counters are out of reach there: %w", err)}
	}
	o.run.up.cluster = counted
	if _, err := o.updated(costs.Table{}); err != nil { // which must not fail after an hour of measuring
		return exitError{exitUsage, err}
	}
	t, err := o.table(ctx)
	if err != nil && len(t.Rows) == 0 {
		return err
	}
	if writeErr := errors.Join(o.write(stdout, t), o.put(t)); writeErr != nil {
		err = errors.Join(err, exitError{exitFindings, writeErr})
	}
	return err
}

// table reads or measures.
func (o costsOptions) table(ctx context.Context) (costs.Table, error) {
	if o.from == "" {
		return o.measure(ctx)
	}
	t, err := record.LoadCosts(o.from)
	if err != nil {
		return t, exitError{exitUsage, fmt.Errorf("--from %w", err)}
	}
	return t, nil
}

// updated returns the documents of --update with the tables and the guide in them.
func (o costsOptions) updated(t costs.Table) (map[string]string, error) {
	documents := map[string]string{}
	for _, file := range o.update {
		document, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--update: %w", err)
		}
		if documents[file], err = costs.Update(string(document), costs.Markdown(t)); err != nil {
			return nil, fmt.Errorf("--update %s: %w", file, err)
		}
	}
	return documents, nil
}

// put writes the documents of --update anew.
func (o costsOptions) put(t costs.Table) error {
	documents, err := o.updated(t)
	if err != nil {
		return err
	}
	for file, document := range documents {
		if err := os.WriteFile(file, []byte(document), 0o644); err != nil {
			return fmt.Errorf("--update: %w", err)
		}
	}
	return nil
}

func (o costsOptions) write(stdout io.Writer, t costs.Table) error {
	switch o.run.output {
	case "json":
		return writeJSON(stdout, t)
	case "markdown":
		return writeCostsMarkdown(stdout, t)
	}
	return costs.Write(stdout, t)
}

func writeCostsMarkdown(w io.Writer, t costs.Table) error {
	blocks := costs.Markdown(t)
	_, err := io.WriteString(w, blocks["costs"]+"\n"+blocks["guide"])
	return err
}

// measure runs as often as asked on one cluster.
func (o costsOptions) measure(ctx context.Context) (t costs.Table, err error) {
	c, unlock, err := lockCheckout()
	if err != nil {
		return t, err
	}
	defer unlock()
	command := "go run ./apps/lab costs" + o.spelled()
	if len(o.run.only) == 0 { // also those that a run does not take unasked
		if o.run.only, err = c.repository.All(); err != nil {
			return t, exitError{exitUsage, err}
		}
	}
	if err := c.choose(&o.run); err != nil {
		return t, exitError{exitUsage, err}
	}
	on, err := c.ownTarget(ctx, o.run.up, false)
	if err != nil {
		return t, err
	}
	compared, err := c.plan(o.run, on, runner.Compare)
	if err != nil {
		return t, exitError{exitUsage, err}
	}
	steps := compared.Steps() + o.runs + (o.runs-1)*len(o.run.only)
	p := newPrinter(steps + on.Steps)
	cluster, err := on.Up(ctx, p, compared.Components())
	if err != nil {
		return t, exitError{exitNoCluster, err}
	}
	defer func() {
		if downErr := on.Down(ctx); downErr != nil {
			err = errors.Join(err, exitError{exitFindings, fmt.Errorf("taking the cluster down: %w", downErr)})
		}
	}()
	supplies, err := compared.Supply(ctx, cluster, nil, p)
	if err != nil {
		return t, exitError{exitFindings, err}
	}
	var results []report.Result
	execution := plan.Execution{Progress: p}
	var failed error // of a run; what was measured before it is worth reading
	for n := range o.runs {
		end := p.Step(fmt.Sprintf("run %d of %d", n+1, o.runs))
		result, err := compared.Measure(ctx, cluster, supplies, execution)
		end(err)
		if err != nil {
			failed = exitError{exitFindings, fmt.Errorf("run %d of %d: %w", n+1, o.runs, err)}
			break
		}
		results = append(results, result)
	}
	if len(results) == 0 {
		return t, failed
	}
	if t, err = costs.Of(results); err != nil {
		return t, exitError{exitFindings, err}
	}
	t.Command, t.Finished = command, time.Now()
	if saved, err := record.SaveCosts(c.dirs.Runs(), t); err != nil { // what was measured is measured in spite of it
		fmt.Fprintf(os.Stderr, "lab: no report: %v\n", err)
	} else {
		fmt.Fprintf(os.Stderr, "lab: report: %s\n", saved.Page)
	}
	if failed != nil {
		return t, failed
	}
	var missing []string
	for _, r := range t.Rows {
		if r.NotRun == "" && r.Runs < o.runs {
			missing = append(missing, fmt.Sprintf("%s was measured in %d of %d runs: %s", r.Strategy, r.Runs, o.runs, r.Missed))
		}
	}
	if len(missing) > 0 {
		return t, exitError{exitFindings, errors.New(strings.Join(missing, "; "))}
	}
	return t, nil
}

// spelled repeats the options, as they were given, that decide what is measured.
func (o costsOptions) spelled() string {
	var b strings.Builder
	fmt.Fprintf(&b, " --runs %d", o.runs)
	if len(o.run.only) > 0 {
		b.WriteString(" --only " + strings.Join(o.run.only, ","))
	}
	for _, i := range o.run.images {
		ref, _, _ := strings.Cut(i, "=")
		b.WriteString(" --image " + ref + "=FILE")
	}
	if o.run.noInstall {
		b.WriteString(" --no-install")
	}
	if o.run.up.nodes != defaultNodes {
		fmt.Fprintf(&b, " --nodes %d", o.run.up.nodes)
	}
	b.WriteString(" -o json")
	return b.String()
}
