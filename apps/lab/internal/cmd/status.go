package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newStatus() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show this checkout's cluster and its kubeconfig",
		Long:  "status shows this checkout's cluster. If no cluster is up, it exits with code 3.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return exitError{exitUsage, fmt.Errorf("--output %q: expected table or json", output)}
			}
			c, err := findCheckout()
			if err != nil {
				return err
			}
			on, err := c.running(cmd.Context())
			if err != nil {
				return err
			}
			s := on.Status()
			w := cmd.OutOrStdout()
			if output == "json" {
				return writeJSON(w, s)
			}
			fmt.Fprintf(w, "kind        %s\nAPI         %s\nkubeconfig  %s\n", s.Kind, s.API, s.Kubeconfig)
			if s.Logs != "" {
				fmt.Fprintf(w, "logs        %s\n", s.Logs)
			}
			for _, n := range s.Nodes {
				where := "container " + n.Container
				if n.Container == "" {
					where = fmt.Sprintf("pid %d", n.Pid)
				}
				fmt.Fprintf(w, "%-11s %s\n", n.Name, where)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "output `format`: table or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
