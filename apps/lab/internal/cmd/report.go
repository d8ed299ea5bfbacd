package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/page"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/record"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/costs"
)

func newReport() *cobra.Command {
	var against, output, to string
	cmd := &cobra.Command{
		Use:   "report [result.json]",
		Short: "Write the report of a run, or of costs: one page with pictures",
		Long: `report writes one HTML page about a run, with everything in it. It shows the
comparison, the claims, and for each experiment who answered the calls, second by
second. Latencies are those of the newest ` + "`lab costs`" + ` of this checkout, or else the
committed ones. Without a file it takes the newest run of this checkout. Each run writes
its report, too, and prints where.

Of a file that ` + "`lab costs -o json`" + ` wrote it shows the tables and how long the calls took.

With --against it also says what moved since an earlier run.

` + exitHelp(exit{exitOK, "the report was written"}, exit{exitUsage, "wrong usage, or a file that is no result"}),
		Example: `  go run ./apps/lab report --to report.html
  go run ./apps/lab report after.json --against before.json --to report.html
  go run ./apps/lab report costs.json --to costs.html
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

func writeReport(stdout io.Writer, file, against, output, to string) error {
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
	loaded, err := record.Read(file)
	if err != nil {
		return exitError{exitUsage, err}
	}
	var b bytes.Buffer // nothing is left half-written
	if loaded.Costs != nil {
		err = renderCosts(&b, *loaded.Costs, against, output)
	} else {
		err = renderRun(&b, *loaded.Run, against, output)
	}
	if err != nil {
		return err
	}
	if to == "" {
		_, err := stdout.Write(b.Bytes())
		return err
	}
	if err := os.WriteFile(to, b.Bytes(), 0o644); err != nil {
		return exitError{exitUsage, fmt.Errorf("--to %s: %w", to, err)}
	}
	fmt.Fprintf(os.Stderr, "lab: wrote %s\n", to)
	return nil
}

func renderRun(w io.Writer, result report.Result, against, output string) error {
	var moved *report.Moved
	if against != "" {
		earlier, err := record.Load(against)
		if err != nil {
			return exitError{exitUsage, fmt.Errorf("--against %w", err)}
		}
		if moved, err = result.Against(earlier); err != nil {
			return exitError{exitUsage, fmt.Errorf("--against %s: %w", against, err)}
		}
	}
	if output == "markdown" {
		return report.Markdown(w, result, moved)
	}
	runs := "" // outside of a checkout none is kept
	if c, err := findCheckout(); err == nil {
		runs = c.dirs.Runs()
	}
	measured, err := record.Latencies(runs)
	if err != nil {
		return exitError{exitFindings, err}
	}
	return page.Write(w, result, page.Beside{Moved: moved, Costs: &measured})
}

func renderCosts(w io.Writer, t costs.Table, against, output string) error {
	if against != "" {
		return exitError{exitUsage, errors.New("--against compares runs, and the file is a table of costs: expected a file that `lab run -o json` wrote")}
	}
	if output == "markdown" {
		return writeCostsMarkdown(w, t)
	}
	return page.WriteCosts(w, t)
}
