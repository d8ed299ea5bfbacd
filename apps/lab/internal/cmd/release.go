package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
)

func newRelease() *cobra.Command {
	var registry string
	cmd := &cobra.Command{
		Use:   "release TAG PROGRAM=DIGEST...",
		Short: "Set the release that the manifests deploy: its tag and each program's digest",
		Long: `release sets the tag and the digest of every program in
` + release.Component + `,
records them in ` + release.Digests + `, and changes nothing else. Commit
both: that promotes the release, and git revert rolls it back. It may be run again.

The digests are those that ko printed when it pushed the images, or that the
registry shows.

` + exitHelp(changed...),
		Example: `  go run ./apps/lab release v0.2.0 echo-server=sha256:... echo-client=sha256:... echo-client-xds=sha256:...`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := findCheckout()
			if err != nil {
				return err
			}
			digests, err := release.ParseDigests(args[1:])
			if err == nil && registry != "" {
				registry, err = release.ParseRegistry(registry)
			}
			var replaced []string
			if err == nil {
				replaced, err = release.Set(c.repository.Root(), release.Release{Registry: registry, Tag: args[0], Digests: digests})
			}
			if err != nil {
				return exitError{exitUsage, err}
			}
			if len(replaced) > 0 {
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s was recorded with another digest of %s: replaced\n", args[0], strings.Join(replaced, ", "))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "set in %s and %s: commit them\n", release.Component, release.Digests)
			return err
		},
	}
	cmd.Flags().StringVar(&registry, "registry", "", "`HOST/OWNER` of the images (default: the current one); it is converted to lower case, which registries require")
	return cmd
}

func newFork() *cobra.Command {
	var registry, branch string
	cmd := &cobra.Command{
		Use:   "fork URL --registry HOST/OWNER",
		Short: "Set the repository and the registry of a fork in the manifests",
		Long: `fork sets the repository that Argo CD reads in argocd/repository.yaml and
argocd/root.yaml, and the registry of the images in
` + release.Component + `. It changes
nothing else and may be run again.

` + exitHelp(changed...),
		Example: `  go run ./apps/lab fork https://github.com/me/grpc-lb.git --registry ghcr.io/me`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := findCheckout()
			if err != nil {
				return err
			}
			owner, err := release.ParseRegistry(registry)
			if err == nil {
				err = release.Fork(c.repository.Root(), release.Repository{URL: args[0], Branch: branch}, owner)
			}
			if err != nil {
				return exitError{exitUsage, err}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "set in argocd/repository.yaml, argocd/root.yaml and %s: commit them\n", release.Component)
			return err
		},
	}
	cmd.Flags().StringVar(&registry, "registry", "", "`HOST/OWNER` of the images; it is converted to lower case, which registries require")
	cmd.Flags().StringVar(&branch, "branch", "", "the `branch` that Argo CD deploys (default: the current one)")
	_ = cmd.MarkFlagRequired("registry")
	return cmd
}
