package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/builtin"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kind"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
)

// defaultNodes is the least that shows calls between nodes.
const defaultNodes = 2

type upOptions struct {
	nodes, apiPort int
}

func (o *upOptions) flags(f *pflag.FlagSet) {
	f.IntVar(&o.nodes, "nodes", defaultNodes, "`number` of nodes of a cluster that is booted")
	f.IntVar(&o.apiPort, "api-port", 0, "`port` of the loopback for the API (default any free one)")
}

func (c checkout) upOptions(o upOptions, p progress.Reporter) builtin.Options {
	return builtin.Options{
		Root: c.repository.Root(), Dirs: c.dirs, Nodes: o.nodes, APIPort: o.apiPort, Progress: p,
	}
}

func newUp() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Boot this checkout's cluster and leave it running",
		Example: "  go run ./apps/lab up --nodes 3\n  go run ./apps/lab kubectl get nodes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, unlock, err := lockCheckout()
			if err != nil {
				return err
			}
			defer unlock()
			cluster, err := builtin.Find(c.dirs)
			if err == nil && cluster == nil {
				up := c.upOptions(o, nil)
				up.Detached, up.Progress = true, newPrinter(builtin.Steps())
				cluster, err = builtin.Up(cmd.Context(), up)
			}
			if err != nil {
				return exitError{exitNoCluster, err}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d nodes are up; kubeconfig: %s\n", len(cluster.Nodes()), cluster.Kubeconfig())
			return err
		},
	}
	o.flags(cmd.Flags())
	return cmd
}

func newDown() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End this checkout's cluster and remove what it left",
		Long:  "down ends the nodes' processes and removes their cgroups and directories. Logs and built programs stay in the cache.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, unlock, err := lockCheckout()
			if err != nil {
				return err
			}
			defer unlock()
			err = builtin.Down(cmd.Context(), c.dirs)
			if options := c.kindOptions(0); kind.Made(options) {
				err = errors.Join(err, kind.Down(options))
			}
			if err != nil {
				return exitError{exitFailed, err}
			}
			return nil
		},
	}
}
