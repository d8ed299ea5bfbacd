package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/diff"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

type diffOptions struct {
	base   string
	live   bool
	gate   []string
	output string
}

func newDiff() *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff [overlay...]",
		Short: "Show how a change alters the rendered objects, and flag dangerous changes",
		Long: `diff renders the overlays and argocd/ twice: from the working tree, with its
uncommitted changes, and from the merge base of HEAD and a ref. It compares the
two object by object and needs no cluster. With --live it compares the working
tree with this checkout's cluster, by a server-side dry run.

diff ignores the order of objects and fields, and the hash in the name of a
generated ConfigMap. It marks dangerous changes with flags:
  image      a container of an existing workload gets another image
  rbac       a Role's rights or a binding's subjects change
  immutable  the API server refuses the change, or ignores it, until the object
             is deleted
  pruned     an object is no longer rendered: Argo CD deletes it
  ignored    Argo CD does not set the field that changes, such as replicas

` + exitHelp(
			exit{exitOK, "nothing differs; with --gate, none of the given flags is raised"},
			exit{exitFindings, "something differs; with --gate, one of the given flags is raised"},
			exit{exitUsage, "an error, or --live finds no cluster"}),
		Example: `  go run ./apps/lab diff                            # against the merge base with origin/main
  go run ./apps/lab diff dns --base HEAD            # uncommitted changes
  go run ./apps/lab diff --live l4                  # against the cluster
  go run ./apps/lab diff --gate immutable,pruned -o markdown >>"$GITHUB_STEP_SUMMARY"`,
		ValidArgsFunction: completeDiff,
		RunE: func(cmd *cobra.Command, overlays []string) error {
			return o.execute(cmd.Context(), overlays, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.base, "base", "", "compare with the merge base of HEAD and this `ref` (default origin/main, else main)")
	f.BoolVar(&o.live, "live", false, "compare with this checkout's cluster, by a dry run")
	f.StringSliceVar(&o.gate, "gate", nil, "exit with 1 if one of these `flags` is raised, otherwise with 0: "+strings.Join(diff.Flags, ", "))
	f.StringVarP(&o.output, "output", "o", "diff", "output `format`: diff, json or markdown")
	cmd.MarkFlagsMutuallyExclusive("base", "live")
	_ = cmd.RegisterFlagCompletionFunc("gate", cobra.FixedCompletions(diff.Flags, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"diff", "json", "markdown"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func completeDiff(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	c, err := findCheckout()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	deployed, variants, err := diff.Names(c.repository)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return append(deployed, variants...), cobra.ShellCompDirectiveNoFileComp
}

func (o diffOptions) execute(ctx context.Context, overlays []string, stdout io.Writer) error {
	if !slices.Contains([]string{"diff", "json", "markdown"}, o.output) {
		return exitError{exitUsage, fmt.Errorf("--output %q: expected diff, json or markdown", o.output)}
	}
	for _, name := range o.gate {
		if !slices.Contains(diff.Flags, name) {
			return exitError{exitUsage, fmt.Errorf("--gate %q: expected some of %s", name, strings.Join(diff.Flags, ", "))}
		}
	}
	c, err := findCheckout()
	if err != nil {
		return err
	}
	compare := c.diffBase
	if o.live {
		compare = c.diffLive
	}
	result, err := compare(ctx, o.base, overlays)
	if err == nil {
		err = o.write(stdout, result)
	}
	if err != nil {
		return exitError{exitUsage, err}
	}
	if len(o.gate) > 0 {
		return gate(result, o.gate)
	}
	if result.Differs() {
		return exitError{exitFindings, errSaid}
	}
	return nil
}

func (o diffOptions) write(stdout io.Writer, result diff.Result) error {
	switch o.output {
	case "json":
		return writeJSON(stdout, result)
	case "markdown":
		return diff.Markdown(stdout, result, diff.SummaryLimit)
	}
	return diff.Text(stdout, result, diff.Style{Color: colored(stdout)})
}

// gate fails if one of the flags is raised.
func gate(result diff.Result, flags []string) error {
	raised := result.Flagged(flags...)
	if len(raised) == 0 {
		return nil
	}
	lines := make([]string, len(raised))
	for i, f := range raised {
		lines[i] = f.String()
	}
	return exitError{exitFindings, errors.New(strings.Join(lines, "\nlab: "))}
}

// diffBase compares the working tree with a commit.
func (c checkout) diffBase(ctx context.Context, ref string, overlays []string) (diff.Result, error) {
	base, err := diff.FindBase(ctx, c.repository.Root(), ref)
	if err != nil {
		return diff.Result{}, err
	}
	dir, err := os.MkdirTemp("", "lab-diff-")
	if err != nil {
		return diff.Result{}, err
	}
	defer os.RemoveAll(dir)
	before, err := base.Extract(ctx, c.repository.Root(), dir)
	if err != nil {
		return diff.Result{}, err
	}
	names, err := diff.Choose(overlays, before, c.repository)
	if err != nil {
		return diff.Result{}, err
	}
	units, err := diff.Rendered(before, c.repository, names)
	if err != nil {
		return diff.Result{}, fmt.Errorf("comparing with %s: %w", base, err)
	}
	return diff.Compare(base.String(), "the working tree", units...)
}

// diffLive compares the working tree with the checkout's cluster.
func (c checkout) diffLive(ctx context.Context, _ string, overlays []string) (diff.Result, error) {
	names, err := diff.Choose(overlays, c.repository)
	if err != nil {
		return diff.Result{}, err
	}
	cluster, err := c.running(ctx)
	if err != nil {
		return diff.Result{}, err
	}
	config, err := cluster.RESTConfig()
	if err != nil {
		return diff.Result{}, err
	}
	client, err := kube.New(config)
	if err != nil {
		return diff.Result{}, err
	}
	var units []diff.Unit
	ignored := c.repository.Ignored()
	for _, name := range names {
		rendered, exists, err := diff.Render(c.repository, name)
		if err != nil {
			return diff.Result{}, err
		}
		if !exists {
			return diff.Result{}, fmt.Errorf("this checkout has no %s", name)
		}
		u, err := diff.Live(ctx, client, name, rendered)
		if err != nil {
			return diff.Result{}, err
		}
		if u.Change == diff.Skipped && slices.Contains(overlays, name) {
			return diff.Result{}, fmt.Errorf("%s cannot be compared: %s", name, u.Reason)
		}
		u.Ignored = ignored[name]
		units = append(units, u)
	}
	return diff.Compare("the cluster at "+cluster.Status().API, "the working tree", units...)
}
