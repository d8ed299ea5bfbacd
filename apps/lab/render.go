package main

import (
	"bytes"

	"github.com/spf13/cobra"
)

func newRender() *cobra.Command {
	return &cobra.Command{
		Use:               "render [overlay...]",
		Short:             "Print overlays as kubectl kustomize does",
		Example:           "  go run ./apps/lab render dns | kubectl diff -f -",
		ValidArgsFunction: completeOverlays,
		RunE: func(cmd *cobra.Command, overlays []string) error {
			c, err := findCheckout()
			if err != nil {
				return err
			}
			if len(overlays) == 0 {
				if overlays, err = c.repository.List(); err != nil {
					return exitError{exitUsage, err}
				}
			}
			var out bytes.Buffer // all or nothing
			for i, name := range overlays {
				rendered, err := c.repository.Render(name)
				if err != nil {
					return exitError{exitUsage, err}
				}
				if i > 0 {
					out.WriteString("---\n")
				}
				out.Write(rendered)
			}
			_, err = out.WriteTo(cmd.OutOrStdout())
			return err
		},
	}
}
