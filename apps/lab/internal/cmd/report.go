package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/page"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/record"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

func newReport() *cobra.Command {
	var against, output, to string
	cmd := &cobra.Command{
		Use:   "report [result.json]",
		Short: "Write the report of a run: one page with pictures",
		Long: `report writes one HTML page about a run, with everything in it. It shows the
comparison, the claims, and for each experiment who answered the calls, second by
second. Without a file it takes the newest run of this checkout. Each run writes its
report, too, and prints where.

With --against it also says what moved since an earlier run.

` + exitHelp(exit{exitOK, "the report was written"}, exit{exitUsage, "wrong usage, or a file that is no result"}),
		Example: `  go run ./apps/lab report --to report.html
  go run ./apps/lab report after.json --against before.json --to report.html
  go run ./apps/lab report -o markdown >>"$GITHUB_STEP_SUMMARY"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			return writeReport(cmd.OutOrStdout(), file, against, output, to)
		},
	}
	f := cmd.Flags()
	f.StringVar(&against, "against", "", "compare with the earlier result in this `file`")
	f.StringVarP(&output, "output", "o", "html", "output `format`: html or markdown")
	f.StringVar(&to, "to", "", "write into this `file` instead of standard output")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"html", "markdown"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func writeReport(stdout io.Writer, file, against, output, to string) (err error) {
	if output != "html" && output != "markdown" {
		return exitError{exitUsage, fmt.Errorf("--output %q: expected html or markdown", output)}
	}
	if file == "" {
		c, err := findCheckout()
		if err != nil {
			return err
		}
		if file, err = record.Newest(c.dirs.Runs()); err != nil {
			return exitError{exitUsage, err}
		}
	}
	result, err := record.Load(file)
	if err != nil {
		return exitError{exitUsage, err}
	}
	var moved *report.Moved
	if against != "" {
		earlier, err := record.Load(against)
		if err == nil {
			moved, err = result.Against(earlier)
		}
		if err != nil {
			return exitError{exitUsage, fmt.Errorf("--against %s: %w", against, err)}
		}
	}
	var b bytes.Buffer // nothing is left half-written
	if output == "markdown" {
		err = report.Markdown(&b, result, moved)
	} else {
		err = page.Write(&b, result, moved)
	}
	if err != nil {
		return exitError{exitFindings, err}
	}
	if to == "" {
		_, err = stdout.Write(b.Bytes())
		return err
	}
	if err := os.WriteFile(to, b.Bytes(), 0o644); err != nil {
		return exitError{exitUsage, fmt.Errorf("--to %s: %w", to, err)}
	}
	fmt.Fprintf(os.Stderr, "lab: wrote %s\n", to)
	return nil
}
