package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/dirs"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/registry"
)

func newRoot() *cobra.Command {
	run := newRun()
	root := &cobra.Command{
		Use:   "lab",
		Short: "Prove how gRPC is balanced on Kubernetes, on a real cluster",
		Long: `lab runs the overlays of this repository on a real Kubernetes and judges every
claim about them by measurement. Without a command it does "lab run".

` + exitHelp(exitCodes...),
		Example:       run.Example,
		Args:          cobra.NoArgs,
		RunE:          run.RunE,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.Flags().AddFlagSet(run.Flags())
	for _, name := range []string{"only", "require", "experiment", "deploy", "output", "cluster"} {
		complete, _ := run.GetFlagCompletionFunc(name)
		_ = root.RegisterFlagCompletionFunc(name, complete)
	}
	root.AddCommand(run, newCosts(), newUp(), newDown(), newStatus(), newKubectl(), newArgoCD(), newRender(), newCheck(), newInspect(), newDiff(), newComponents(), newRelease(), newFork(), newSlow(), newReport(), newDocs(), newWatch(), newExperiments())
	return root
}

// checkout is this repository and what the lab keeps for it.
type checkout struct {
	repository *manifest.Repository
	dirs       dirs.Dirs
	clusters   provider.Set
}

func newCheckout(r *manifest.Repository, d dirs.Dirs) checkout {
	return checkout{r, d, registry.All(d, r.Root())}
}

func findCheckout() (checkout, error) {
	repository, err := manifest.Find(".")
	if err != nil {
		return checkout{}, exitError{exitUsage, err}
	}
	cache, err := cacheDir()
	if err != nil {
		return checkout{}, exitError{exitUsage, fmt.Errorf("no cache directory: %w: set XDG_CACHE_HOME or HOME", err)}
	}
	return newCheckout(repository, dirs.New(cache, repository.Root())), nil
}

// cacheDir is where the lab keeps what it makes.
func cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "grpc-lb"), err
}

// lockCheckout also keeps every other lab from the checkout's cluster until
// unlock is called.
func lockCheckout() (c checkout, unlock func(), err error) {
	if c, err = findCheckout(); err != nil {
		return c, nil, err
	}
	lock, err := c.dirs.Lock()
	if err != nil {
		return c, nil, exitError{exitNoCluster, err}
	}
	return c, func() { _ = lock.Close() }, nil
}

// running returns the checkout's cluster that is up.
func (c checkout) running(ctx context.Context) (cluster.Cluster, error) {
	_, on, err := c.clusters.Find(ctx)
	if err != nil {
		return nil, exitError{exitNoCluster, err}
	}
	if on != nil {
		return on, nil
	}
	if other := c.clusters.Elsewhere(); other != "" {
		return nil, exitError{exitNoCluster, errors.New(other)}
	}
	left, err := c.clusters.Left(ctx)
	if err != nil {
		return nil, exitError{exitNoCluster, err}
	}
	if len(left) > 0 {
		return nil, exitError{exitNoCluster, fmt.Errorf("no cluster of this checkout is up, but %s are left of one: remove them with `lab down`", strings.Join(left, ", "))}
	}
	return nil, exitError{exitNoCluster, errors.New("no cluster of this checkout is up: start one with `lab up`")}
}

func completeOverlays(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	c, err := findCheckout()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names, err := c.repository.All()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// newPrinter shows steps on stderr, live where that is a terminal.
func newPrinter(steps int) *progress.Printer {
	width := 0
	if fd := int(os.Stderr.Fd()); term.IsTerminal(fd) {
		if width, _, _ = term.GetSize(fd); width == 0 {
			width = 80
		}
	}
	return progress.NewPrinter(os.Stderr, steps, width)
}

// writeJSON prints what scripts read, and people too.
func writeJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(v)
}

// colored tells whether w takes colours; see no-color.org.
func colored(w io.Writer) bool {
	f, ok := w.(*os.File)
	_, no := os.LookupEnv("NO_COLOR")
	return ok && !no && term.IsTerminal(int(f.Fd()))
}
