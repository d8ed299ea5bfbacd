package main

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/plan"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
)

// noComponents is the value of --components that compiles everything.
const noComponents = "none"

// componentsImage is the repository of the components beside the released images.
const componentsImage = "lab-components"

// builder builds this checkout's components, or fetches them from a registry: the
// value of --components.
func (c checkout) builder(registry string) (component.Builder, error) {
	b := component.Builder{Root: c.repository.Root(), Cache: c.dirs.Cache}
	if registry == noComponents {
		return b, nil
	}
	if registry == "" {
		released, err := release.Read(c.repository.Root())
		if err != nil || len(released) == 0 {
			return b, err
		}
		registry = path.Join(path.Dir(released[0].NewName), componentsImage)
	}
	var err error
	if b.Registry, err = component.ParseRegistry(registry); err != nil {
		err = fmt.Errorf("--components: %w", err)
	}
	return b, err
}

func newComponents() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "components",
		Short: "Publish the built components of a cluster, so that others need not compile them",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newComponentsPush(), newComponentsRecord())
	return cmd
}

func newComponentsPush() *cobra.Command {
	var names []string
	var anew bool
	cmd := &cobra.Command{
		Use:   "push [HOST/PATH]",
		Short: "Build the components that are not published yet, and push them",
		Long: `push builds each component that ` + component.Digests + ` does not record
and the registry does not have, pushes it with the credentials of "docker login", and
prints a line of it for ` + "`lab components record`" + `. The registry is that of the
released images unless it is given.

` + exitHelp(exit{exitOK, "done"}, exit{exitFindings, "something could not be built or pushed"}, exit{exitUsage, "wrong usage"}),
		Example: "  go run ./apps/lab components push ghcr.io/me/lab-components --platform linux/arm64",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := findCheckout()
			if err != nil {
				return err
			}
			b, err := c.builder(strings.Join(args, ""))
			if err == nil && b.Registry == nil {
				err = fmt.Errorf("%s names no registry: give HOST/PATH", cmp.Or(strings.Join(args, ""), "base"))
			}
			var platforms []component.Platform
			for _, name := range names {
				p, wrong := component.ParsePlatform(name)
				platforms, err = append(platforms, p), errors.Join(err, wrong)
			}
			if err != nil {
				return exitError{exitUsage, err}
			}
			all, err := b.Publish(cmd.Context(), platforms, anew, plan.StepOf(newPrinter(0)))
			for _, p := range all { // also those before the one that failed
				fmt.Fprintln(cmd.OutOrStdout(), p)
			}
			if err != nil {
				return exitError{exitFindings, err}
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&names, "platform", []string{component.Here().String()}, "`OS/ARCH` of the machine and the nodes; what runs in nodes is built for Linux alone")
	cmd.Flags().BoolVar(&anew, "anew", false, "build what the registry has, too: a digest to be recorded is not taken from its word")
	return cmd
}

func newComponentsRecord() *cobra.Command {
	return &cobra.Command{
		Use:   "record",
		Short: "Record the digests of published components, so that labs may fetch them",
		Long: `record reads the lines that ` + "`lab components push`" + ` prints and writes
` + component.Digests + `. The lab fetches what is recorded there, by that
digest, and nothing else. It drops what was built from other sources than this
checkout's.

` + exitHelp(changed...),
		Example: "  go run ./apps/lab components push | go run ./apps/lab components record",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := findCheckout()
			if err != nil {
				return err
			}
			all, err := component.ReadPublished(cmd.InOrStdin())
			if err != nil {
				return exitError{exitUsage, err}
			}
			others, err := component.Record(c.repository.Root(), all)
			if err != nil {
				return exitError{exitUsage, err}
			}
			for _, p := range others {
				fmt.Fprintf(cmd.OutOrStdout(), "not recorded, since this checkout has other sources: %s\n", p)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d of %d recorded in %s: commit it\n", len(all)-len(others), len(all), component.Digests)
			return err
		},
	}
}
