package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newRender() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "render [overlay...]",
		Short: "Print overlays as kubectl kustomize does",
		Long: `render prints overlays, all of them by default, as kubectl kustomize does.

With --output-dir it writes <overlay>.yaml for each overlay into a directory, and
creates the directory if it is missing. It writes all files or none. It replaces
files of overlays. It refuses a directory with any other file, because kubectl
apply -f would also apply that file.`,
		Example:           "  go run ./apps/lab render dns | kubectl diff -f -\n  go run ./apps/lab render -o rendered",
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
			rendered := make([][]byte, len(overlays)) // all or nothing
			for i, name := range overlays {
				if rendered[i], err = c.repository.Render(name); err != nil {
					return exitError{exitUsage, err}
				}
			}
			if !cmd.Flags().Changed("output-dir") {
				_, err = cmd.OutOrStdout().Write(bytes.Join(rendered, []byte("---\n")))
				return err
			}
			known, err := c.repository.All()
			if err != nil {
				return exitError{exitUsage, err}
			}
			files := map[string][]byte{}
			for i, name := range overlays {
				files[name+".yaml"] = rendered[i]
			}
			if err := writeFiles(dir, files, func(name string) bool {
				overlay, ok := strings.CutSuffix(name, ".yaml")
				return ok && slices.Contains(known, overlay)
			}); err != nil {
				return exitError{exitUsage, fmt.Errorf("--output-dir %q: %w", dir, err)}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&dir, "output-dir", "o", "", "`directory` to write <overlay>.yaml to, instead of standard output")
	_ = cmd.MarkFlagDirname("output-dir")
	return cmd
}

// writeFiles writes all files into a directory or leaves it as it was. The
// directory may hold only files that mayReplace accepts.
func writeFiles(dir string, files map[string][]byte, mayReplace func(name string) bool) (err error) {
	entries, err := os.ReadDir(dir)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && (!missing || dir == "") {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !mayReplace(e.Name()) {
			return fmt.Errorf("it holds %s, which is no overlay's: remove it or name another directory", e.Name())
		}
	}
	if missing {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	written := map[string]string{} // from the file beside it to the file
	defer func() {
		for temporary := range written {
			_ = os.Remove(temporary)
		}
		if missing && err != nil {
			_ = os.Remove(dir)
		}
	}()
	for name, content := range files {
		f, err := os.CreateTemp(dir, ".render-")
		if err != nil {
			return err
		}
		written[f.Name()] = filepath.Join(dir, name)
		_, err = f.Write(content)
		if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
			return err
		}
	}
	for temporary, file := range written {
		if err := os.Rename(temporary, file); err != nil {
			return err
		}
		delete(written, temporary)
	}
	return nil
}
