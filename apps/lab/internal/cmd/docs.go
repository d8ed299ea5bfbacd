package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/docs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/record"
)

func newDocs() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "docs",
		Short: "Write the pictures and tables of this repository's pages from committed measurements",
		Long: `docs writes what is derived in the pages: pictures, tables and quoted output. It
takes them from the measurements that are committed, and prints the files that changed.
With --from it first commits a run to the checkout: one that measured all strategies.`,
		Example: "  go run ./apps/lab docs\n  go run ./apps/lab run -o json >run.json && go run ./apps/lab docs --from run.json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return writeDocs(cmd.OutOrStdout(), from) },
	}
	cmd.Flags().StringVar(&from, "from", "", "take the run in this `file`, which `lab run -o json` wrote")
	return cmd
}

func writeDocs(stdout io.Writer, from string) error {
	c, err := findCheckout()
	if err != nil {
		return err
	}
	root := c.repository.Root()
	if from != "" {
		run, err := record.Load(from)
		if err != nil {
			return exitError{exitUsage, err}
		}
		if err := docs.Commit(root, run); err != nil {
			return exitError{exitUsage, err}
		}
	}
	files, err := docs.Files(root, commandBlocks())
	if err != nil {
		return exitError{exitUsage, err}
	}
	written, err := docs.Write(root, files)
	for _, name := range written {
		fmt.Fprintln(stdout, name)
	}
	if err != nil {
		return exitError{exitUsage, err}
	}
	return nil
}

// commandBlocks are the blocks of pages that are about this program.
func commandBlocks() map[string]map[string]string {
	var table strings.Builder
	table.WriteString("| exit code | meaning |\n|---|---|\n")
	for _, c := range exitCodes {
		fmt.Fprintf(&table, "| %d | %s |\n", c.code, c.meaning)
	}
	return map[string]map[string]string{"apps/lab/README.md": {"exit-codes": table.String()}}
}
