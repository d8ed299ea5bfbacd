package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/check"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// checked is the outcome of a check.
type checked struct {
	Overlays   []string          `json:"overlays"`
	Rules      int               `json:"rules"`
	Violations []check.Violation `json:"violations"`
	// Notes are about what is right, and does less than it seems to.
	Notes []check.Violation `json:"notes,omitempty"`
	// Follows holds, by overlay, the strategy of another name that it follows.
	Follows map[string]string `json:"follows,omitempty"`
	// NotRun says why --live judged none, or not all.
	NotRun []string `json:"notRun,omitempty"`
	// EnvoyNotRun says why Envoy did not validate its configuration.
	EnvoyNotRun string `json:"envoyNotRun,omitempty"`
	// unreached says that no cluster of this checkout is up.
	unreached bool
}

func newCheck() *cobra.Command {
	var live, noHouse bool
	var output string
	var files []string
	cmd := &cobra.Command{
		Use:   "check [overlay...]",
		Short: "Check the manifests against every rule and print how to fix each violation",
		Long: `check renders the named overlays and checks them against every rule. Without
names it checks all overlays, their variants and the files of Argo CD. It needs no
cluster, prints all violations, and changes nothing. A note does not fail the
check: it names a committed field that Argo CD ignores.

The rules have two families. Balancing rules work out how calls reach their servers.
House rules are the conventions of this repository; --no-house leaves them out.

With -f it judges manifests of yours by the balancing rules alone: a file, a directory
with a kustomization, or - for standard input. It prints for each client who chooses a
server, among which, and when a new pod gets calls, and for each GRPCRoute where it leads.

` + exitHelp(exit{exitOK, "no violation"}, exit{exitFindings, "violations"}, exit{exitUsage, "wrong usage"},
			exit{exitNoCluster, "--live reached no cluster"}, exit{exitUndecided, "--live could not judge everything, or -f could not decide"}),
		Example:           "  go run ./apps/lab check\n  go run ./apps/lab check dns -o json\n  helm template my-chart | go run ./apps/lab check -f -",
		ValidArgsFunction: completeOverlays,
		RunE: func(cmd *cobra.Command, overlays []string) error {
			if output != "text" && output != "json" {
				return exitError{exitUsage, fmt.Errorf("--output %q: expected text or json", output)}
			}
			if len(files) > 0 {
				if len(overlays) > 0 {
					return exitError{exitUsage, fmt.Errorf("-f %s and the overlay %s: give one of the two", files[0], overlays[0])}
				}
				return checkFile(cmd.Context(), files, output, cmd.InOrStdin(), cmd.OutOrStdout())
			}
			c, err := findCheckout()
			if err != nil {
				return err
			}
			found := checked{Overlays: overlays, Rules: len(check.Rules)}
			if found.Violations, err = check.Checkout(c.repository, overlays...); err != nil {
				return exitError{exitUsage, err}
			}
			if len(overlays) == 0 {
				if found.Overlays, err = c.repository.Checked(); err != nil {
					return exitError{exitUsage, err}
				}
			}
			if err := c.checkEnvoys(cmd.Context(), &found); err != nil {
				return exitError{exitUsage, err}
			}
			if noHouse {
				found.Violations = check.Only(check.Balancing, found.Violations)
			}
			found.Follows = c.follows(found.Overlays)
			if found.Notes, err = check.IgnoredFields(c.repository, found.Overlays...); err != nil {
				return exitError{exitUsage, err}
			}
			if live {
				if err := c.checkLive(cmd.Context(), &found); err != nil {
					return err
				}
			}
			if err := found.write(cmd.OutOrStdout(), output); err != nil {
				return err
			}
			var errs []string
			code := exitUndecided
			if found.unreached {
				code = exitNoCluster
			}
			if n := len(found.Violations); n > 0 {
				errs, code = append(errs, fmt.Sprintf("%d violations", n)), exitFindings
			}
			if len(found.NotRun) > 0 {
				errs = append(errs, "live: not run: "+strings.Join(found.NotRun, "; "))
			}
			if len(errs) > 0 {
				return exitError{code, errors.New(strings.Join(errs, "; "))}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&live, "live", false, "also send every object to this checkout's cluster as a dry run")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "output `format`: text or json")
	cmd.Flags().BoolVar(&noHouse, "no-house", false, "leave out the rules that are conventions of this repository")
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "judge the manifests in this `FILE`, directory or - (standard input), not this checkout's (repeatable: all are judged together)")
	cmd.MarkFlagsMutuallyExclusive("filename", "live")
	cmd.MarkFlagsMutuallyExclusive("filename", "no-house")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// write shows each violation in two lines, and the sum in one.
func (c checked) write(w io.Writer, output string) error {
	if output == "json" {
		if c.Violations == nil {
			c.Violations = []check.Violation{}
		}
		return writeJSON(w, c)
	}
	for _, v := range c.Violations {
		in := ""
		if len(v.Overlays) > 0 {
			in = "in " + strings.Join(v.Overlays, ", ") + ": "
		}
		if _, err := fmt.Fprintf(w, "%s\n    %s%s\n", v, in, v.Remedy); err != nil {
			return err
		}
	}
	for _, n := range c.Notes {
		if _, err := fmt.Fprintf(w, "note: %s: %s: %s: %s\n", n.File, n.Object, n.Text, n.Remedy); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Follows)) {
		if _, err := fmt.Fprintf(w, "%s follows %s: `lab run` measures it so\n", name, c.Follows[name]); err != nil {
			return err
		}
	}
	if c.EnvoyNotRun != "" {
		if _, err := fmt.Fprintf(w, "envoy-valid: not run: %s\n", c.EnvoyNotRun); err != nil {
			return err
		}
	}
	house := len(check.Only(check.House, c.Violations))
	_, err := fmt.Fprintf(w, "%d rules, %s: %d violations, %d of balancing and %d of the house\n", c.Rules, strings.Join(c.Overlays, ", "), len(c.Violations), len(c.Violations)-house, house)
	return err
}

// checkEnvoys lets Envoy validate the configurations of the overlays that render.
func (c checkout) checkEnvoys(ctx context.Context, found *checked) error {
	seen := map[string]bool{}
	for _, name := range found.Overlays {
		rendered, err := c.repository.Render(name)
		if err != nil {
			continue // a rule says so
		}
		objects, _, err := manifest.DecodeAll(rendered)
		if err != nil {
			return err
		}
		violations, notRun := c.validateEnvoys(ctx, objects)
		if notRun != "" {
			found.EnvoyNotRun = notRun
		}
		for _, v := range violations {
			if key := v.Object + v.Text; !seen[key] {
				seen[key] = true
				v.Overlays = []string{name}
				found.Violations = append(found.Violations, v)
			}
		}
	}
	return nil
}

// follows says of overlays which strategy they follow, where they do not bear its
// name. Of one that follows none, a rule says what is wrong.
func (c checkout) follows(overlays []string) map[string]string {
	all := map[string]string{}
	for _, name := range overlays {
		if manifest.IsAsked(name) { // its name says it
			continue
		}
		if s, err := strategy.Named(c.repository, []string{name}); err == nil && s[0].Follows != "" {
			all[name] = s[0].Follows
		}
	}
	return all
}

// admitted is the rule of --live.
var admitted = check.Rule{Name: "api-server", Remedy: "mend what the API server refuses"}

// checkLive has the checkout's cluster, where one is up, judge every object of
// overlays whose namespaces are there, and stores nothing.
func (c checkout) checkLive(ctx context.Context, found *checked) error {
	cluster, err := c.running(ctx)
	if err != nil {
		found.NotRun, found.unreached = []string{err.Error()}, true
		return nil
	}
	config, err := cluster.RESTConfig()
	if err != nil {
		return exitError{exitNoCluster, err}
	}
	client, err := kube.New(config)
	if err != nil {
		return exitError{exitNoCluster, err}
	}
	for _, name := range found.Overlays {
		namespace := manifest.Namespace(name)
		_, err := client.Typed.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			found.NotRun = append(found.NotRun, fmt.Sprintf("no namespace %s: deploy %s first", namespace, name))
			continue
		} else if err != nil {
			return exitError{exitNoCluster, err}
		}
		refused, err := check.With(c.repository, admitted, name, func(o *unstructured.Unstructured) error {
			return client.DryRun(ctx, o)
		})
		if err != nil {
			return exitError{exitUsage, err}
		}
		found.Violations = append(found.Violations, refused...)
	}
	return nil
}
