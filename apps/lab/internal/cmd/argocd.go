package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/argocd"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
)

func newArgoCD() *cobra.Command {
	return &cobra.Command{
		Use:   "argocd [arguments]",
		Short: "Show how to look at the cluster's Argo CD, or run its own CLI",
		Long: `argocd says how to reach the Argo CD that "lab run --deploy argocd --keep" left
on this checkout's cluster. With arguments it runs Argo CD's own CLI against that
Argo CD, without a login ("--core").`,
		Example: `  go run ./apps/lab run --deploy argocd --keep
  go run ./apps/lab argocd
  go run ./apps/lab argocd app list`,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && (args[0] == "-h" || args[0] == "--help") {
				return cmd.Help()
			}
			c, err := findCheckout()
			if err != nil {
				return err
			}
			on, err := c.running(cmd.Context())
			if err != nil {
				return err
			}
			config, err := on.RESTConfig()
			if err != nil {
				return exitError{exitNoCluster, err}
			}
			client, err := kube.New(config)
			if err != nil {
				return exitError{exitNoCluster, err}
			}
			access, err := argocd.Look(cmd.Context(), client)
			if err != nil {
				return exitError{exitFindings, err}
			}
			if len(args) == 0 {
				return show(cmd.OutOrStdout(), access)
			}
			return exitError{exitNoCluster, c.argocdCLI(on, args)}
		},
	}
}

func show(w io.Writer, a argocd.Access) error {
	_, err := fmt.Fprintf(w, `Argo CD runs in namespace %s.
CLI       go run ./apps/lab argocd app list
API       go run ./apps/lab kubectl -n %s port-forward service/argocd-server 8080:443
          then https://127.0.0.1:8080, user admin, password %s
UI        %s
`, argocd.Namespace, argocd.Namespace, a.Password, a.UI)
	return err
}

// argocdCLI becomes Argo CD's CLI, which takes Argo CD's namespace from its
// kubeconfig.
func (c checkout) argocdCLI(on cluster.Cluster, args []string) error {
	config, err := clientcmd.LoadFromFile(on.Kubeconfig())
	if err != nil {
		return err
	}
	for _, context := range config.Contexts {
		context.Namespace = argocd.Namespace
	}
	kubeconfig := filepath.Join(c.dirs.Cluster, "argocd.kubeconfig")
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		return err
	}
	return c.become(component.ArgoCD, "argocd", args, "KUBECONFIG="+kubeconfig, "ARGOCD_OPTS=--core")
}
