package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/registry"
)

// defaultNodes is the least that shows calls between nodes.
const defaultNodes = 2

// upOptions say which cluster is booted.
type upOptions struct {
	cluster, nodeImage string
	nodes, apiPort     int
	patience           float64
	components         string
}

func (o *upOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	kinds := registry.All(dirs.Dirs{}, "")
	f.StringVar(&o.cluster, "cluster", "", "the `kind` of cluster to boot: "+kinds.Help())
	f.StringVar(&o.nodeImage, "node-image", "", "`image` of the nodes of a kind cluster (default: the image of the kind release)")
	f.IntVar(&o.nodes, "nodes", defaultNodes, "`number` of nodes of the cluster that the lab boots")
	f.StringVar(&o.components, "components", "", "`HOST/PATH` from which the lab pulls built components by their recorded digests; none compiles all components here (default: lab-components in the registry of the released images)")
	f.IntVar(&o.apiPort, "api-port", 0, "`port` of the API server on the loopback address (default: any free port)")
	f.Float64Var(&o.patience, "patience", 0, "`factor` by which the time limits of booting are multiplied (default: the lab measures this machine's speed)")
	_ = cmd.RegisterFlagCompletionFunc("cluster", cobra.FixedCompletions(kinds.Names(), cobra.ShellCompDirectiveNoFileComp))
}

// check looks for contradictions in the flags. An image of the nodes chooses the kind
// that has one.
func (o *upOptions) check() error {
	if o.apiPort < 0 || o.apiPort > 65535 {
		return fmt.Errorf("--api-port %d: expected 1 to 65535, or 0 for any free one", o.apiPort)
	}
	kinds := registry.All(dirs.Dirs{}, "")
	if o.cluster != "" {
		if _, err := kinds.Named(o.cluster); err != nil {
			return fmt.Errorf("--cluster %w; to use a cluster that runs already, give --context", err)
		}
	}
	if o.nodeImage == "" {
		return nil
	}
	name, err := kinds.With(o.cluster, func(k provider.Kind) bool { return k.NodeImages })
	if err != nil {
		return fmt.Errorf("--node-image %s: its nodes have no image: %w", o.nodeImage, err)
	}
	o.cluster = name
	return nil
}

func newUp() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Boot this checkout's cluster and leave it running",
		Example: "  go run ./apps/lab up --nodes 3\n  go run ./apps/lab kubectl get nodes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return exitError{exitUsage, err}
			}
			c, unlock, err := lockCheckout()
			if err != nil {
				return err
			}
			defer unlock()
			on, err := c.ownTarget(cmd.Context(), o, true)
			if err != nil {
				return err
			}
			cluster, err := on.Up(cmd.Context(), newPrinter(on.Steps), nil)
			if err != nil {
				return exitError{exitNoCluster, err}
			}
			s := cluster.Status()
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d nodes are up (%s); kubeconfig: %s\n", len(s.Nodes), s.Kind, s.Kubeconfig)
			return err
		},
	}
	o.flags(cmd)
	return cmd
}

func newDown() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop this checkout's cluster and clean up after it",
		Long:  "down stops the nodes of this checkout's cluster (containers or processes) and cleans\nup after them. Logs and built programs stay in the cache.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, unlock, err := lockCheckout()
			if err != nil {
				return err
			}
			defer unlock()
			err = c.clusters.Down(cmd.Context())
			if other := c.clusters.Elsewhere(); err == nil && other != "" {
				err = errors.New(other)
			}
			if err != nil {
				return exitError{exitFindings, err}
			}
			return nil
		},
	}
}
