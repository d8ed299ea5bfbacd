package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
)

func newKubectl() *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl [arguments]",
		Short:              "Run the cluster's own kubectl against it",
		Example:            "  go run ./apps/lab kubectl -n grpc-lb-dns logs deployment/echo-client",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := findCheckout()
			if err != nil {
				return err
			}
			cluster, err := c.running()
			if err != nil {
				return err
			}
			b := component.Builder{Root: c.repository.Root(), Cache: c.dirs.Cache}
			dir, built, err := b.Path(component.Kubernetes)
			if err == nil && !built {
				err = fmt.Errorf("kubectl is not built for this checkout's pins: run `lab down` and `lab up`")
			}
			if err != nil {
				return exitError{exitNoCluster, err}
			}
			env := append(os.Environ(), "KUBECONFIG="+cluster.Kubeconfig())
			err = syscall.Exec(filepath.Join(dir, "kubectl"), append([]string{"kubectl"}, args...), env)
			return exitError{exitNoCluster, fmt.Errorf("kubectl: %w", err)}
		},
	}
}
