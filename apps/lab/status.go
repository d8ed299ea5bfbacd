package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

type status struct {
	Kubeconfig string            `json:"kubeconfig"`
	API        string            `json:"api"`
	Logs       string            `json:"logs"`
	Nodes      []nodeStatus      `json:"nodes"`
	Versions   map[string]string `json:"versions"`
}

type nodeStatus struct {
	Name string `json:"name"`
	Pid  int    `json:"pid"`
}

func newStatus() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show this checkout's cluster and its kubeconfig",
		Long:  "status shows the cluster that is up, and exits with 3 where none is.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return exitError{exitUsage, fmt.Errorf("--output %q: expected table or json", output)}
			}
			c, err := findCheckout()
			if err != nil {
				return err
			}
			cluster, err := c.running()
			if err != nil {
				return err
			}
			s := status{cluster.Kubeconfig(), cluster.API(), cluster.Logs(), nil, cluster.Versions()}
			for _, n := range cluster.Nodes() {
				s.Nodes = append(s.Nodes, nodeStatus{n.Name, n.Pid})
			}
			w := cmd.OutOrStdout()
			if output == "json" {
				return writeJSON(w, s)
			}
			fmt.Fprintf(w, "API         %s\nkubeconfig  %s\nlogs        %s\n", s.API, s.Kubeconfig, s.Logs)
			for _, n := range s.Nodes {
				fmt.Fprintf(w, "%-11s pid %d\n", n.Name, n.Pid)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "output `format`: table or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
