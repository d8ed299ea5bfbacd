package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/become"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
)

func newKubectl() *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl [arguments]",
		Short:              "Run kubectl on this checkout's cluster",
		Example:            "  go run ./apps/lab kubectl -n grpc-lb-dns logs deployment/echo-client",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := findCheckout()
			if err != nil {
				return err
			}
			cluster, err := c.running(cmd.Context())
			if err != nil {
				return err
			}
			return exitError{exitNoCluster, c.become(component.Kubernetes, "kubectl", args, "KUBECONFIG="+cluster.Kubeconfig())}
		},
	}
}

// become replaces this process by a program of the cluster's components, or by
// the user's own where that is not built or of another platform, with more variables in its environment.
// It returns only when it could not.
func (c checkout) become(of component.Component, program string, args []string, env ...string) error {
	b := component.Builder{Root: c.repository.Root(), Cache: c.dirs.Cache}
	dir, built, err := b.Path(of)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, program)
	if !built || !b.Runs(of) {
		if path, err = exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not built for this checkout's pins, and PATH has none: `lab run` what needs it once more, or install it", program)
		}
	}
	return become.Program(path, append([]string{program}, args...), override(os.Environ(), env...))
}

// override sets variables of an environment in place of what they were: of two
// values of one variable programs take the first.
func override(environ []string, set ...string) []string {
	others := slices.DeleteFunc(environ, func(have string) bool {
		name, _, _ := strings.Cut(have, "=")
		return slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(s, name+"=") })
	})
	return append(others, set...)
}
