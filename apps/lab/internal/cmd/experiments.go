package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// listed is an experiment as `lab experiments -o json` prints it.
type listed struct {
	Name     string   `json:"name"`
	Question string   `json:"question"`
	Overlays []string `json:"overlays"`
	// Without says why it is not made with other overlays.
	Without map[string]string `json:"without,omitempty"`
	Claims  []listedClaim     `json:"claims"`
	// Usual says that the usual claims about the overlays are judged too.
	Usual bool `json:"usual,omitempty"`
}

type listedClaim struct {
	ID       int      `json:"id"`
	Text     string   `json:"text"`
	Overlays []string `json:"overlays"`
}

func newExperiments() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "experiments",
		Short: "List the experiments that run makes on request, and what they prove",
		Long: `experiments lists the experiments that "lab run --experiment NAME" makes, the
overlays that each one concerns, and the claims that it judges. A run without
--experiment makes none of them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch output {
			case "json":
				return writeJSON(cmd.OutOrStdout(), onRequest())
			case "table":
				printExperiments(cmd.OutOrStdout(), onRequest())
				return nil
			}
			return exitError{exitUsage, fmt.Errorf("--output %q: expected table or json", output)}
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "output `format`: table or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func onRequest() (all []listed) {
	for _, a := range strategy.OnRequest() {
		l := listed{Name: a.Name, Question: a.Question, Overlays: a.Concerned(), Without: a.Without, Usual: a.Usual}
		for _, c := range a.Claims {
			l.Claims = append(l.Claims, listedClaim{c.ID, c.Text, a.Overlays(c)})
		}
		all = append(all, l)
	}
	return all
}

// listWidth is how wide the list is.
const listWidth = 100

func printExperiments(w io.Writer, all []listed) {
	wrapped := func(first, rest, line string) {
		for i, part := range strings.Split(text.WrapSoft(line, listWidth-len(rest)), "\n") {
			if i > 0 {
				first = rest
			}
			fmt.Fprintln(w, first+strings.TrimSpace(part))
		}
	}
	for i, l := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, l.Name)
		wrapped("  ", "  ", l.Question)
		for _, c := range l.Claims {
			about := strings.Join(c.Overlays, ", ")
			if slices.Equal(c.Overlays, l.Overlays) && len(c.Overlays) > 1 {
				about = "all of " + about
			}
			wrapped(fmt.Sprintf("  %3d  ", c.ID), "       ", c.Text+" ("+about+")")
		}
		for _, name := range slices.Sorted(maps.Keys(l.Without)) {
			wrapped("  not  ", "       ", name+": "+l.Without[name])
		}
		if l.Usual {
			wrapped("       ", "       ", "and all that a run without --experiment claims about them")
		}
	}
}

func completeExperiments(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, a := range strategy.OnRequest() {
		names = append(names, a.Name+"\t"+a.Question)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
