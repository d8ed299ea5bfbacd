package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/live"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/plan"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/stage"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

type watchOptions struct {
	run  runOptions
	port int
}

func newWatch() *cobra.Command {
	var o watchOptions
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Run strategies side by side and change them from a page",
		Long: `watch deploys overlays and serves a page on the loopback address. The page shows who
answers each client's calls, second by second. Its buttons scale, delete, kill, restart
and slow servers, take the API server away from pods, and cut a node off. A button that
your rights or the cluster do not allow is off and says why. The page can be reloaded,
opened twice, and saved. The command ends by its button or by Ctrl-C, takes back what its
buttons broke, and deletes what it made.

If this checkout's cluster is up, watch uses it; if not, watch boots one. With --context
it uses your own cluster.`,
		Example: "  go run ./apps/lab watch\n  go run ./apps/lab watch --only l4,dns,k8s-api,envoy",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.watch(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.run.only, "only", []string{"l4", "k8s-api"}, "show these `overlays`")
	f.IntVar(&o.port, "port", 0, "`port` of the page on the loopback address (default: any free port)")
	f.BoolVar(&o.run.noInstall, "no-install", false, "install only the overlays; on a cluster without Istio, overlays that need Istio are not run")
	o.run.up.flags(cmd)
	o.run.context.flags(f)
	_ = cmd.RegisterFlagCompletionFunc("only", completeOverlays)
	return cmd
}

func (o watchOptions) watch(ctx context.Context, stdout io.Writer) error {
	if o.port < 0 || o.port > 65535 {
		return exitError{exitUsage, fmt.Errorf("--port %d: expected 1 to 65535, or 0 for any free one", o.port)}
	}
	if err := o.run.up.check(); err != nil {
		return exitError{exitUsage, err}
	}
	if err := o.run.context.check(o.run.up, "apply"); err != nil {
		return exitError{exitUsage, err}
	}
	c, unlock, err := lockCheckout()
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.choose(&o.run); err != nil {
		return exitError{exitUsage, err}
	}
	if o.run.context.printRBAC {
		var changes []runner.Access
		for _, a := range strategy.Actions {
			changes = append(changes, a.Rights...)
		}
		return c.printRBAC(stdout, "watch", o.run.only, changes...)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", o.port))
	if err != nil {
		return exitError{exitUsage, fmt.Errorf("--port %d: %w: choose another, or 0 for any free one", o.port, err)}
	}
	defer listener.Close()
	on, err := c.target(ctx, o.run)
	if err != nil {
		return err
	}
	p, err := c.plan(o.run, on, runner.Watch)
	if err != nil {
		return exitError{exitUsage, err}
	}
	if on.admit != nil {
		if err := on.admit(ctx); err != nil {
			return err
		}
	}
	printer := newPrinter(p.Steps() + on.Steps)
	running, err := on.Up(ctx, printer, p.Components())
	if err != nil {
		return exitError{exitNoCluster, err}
	}
	shown := stage.New(o.run.only)
	server := live.New(shown)
	page := &http.Server{Handler: server.Handler(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- page.Serve(listener) }()
	fmt.Fprintf(stdout, "http://%s/%s/\n", listener.Addr(), server.Token)
	printer.Print("lab: open the link above; end with its button or with Ctrl-C\n")

	watched, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-shown.Done(): // the button also ends what has not begun
			stop()
		case <-watched.Done():
		}
	}()
	outcome, runErr := p.Run(watched, running, plan.Execution{Disposable: on.Boots, Progress: printer, Live: shown.Watch, Failed: shown.Failed})
	ended := watched.Err() != nil // by the button or by Ctrl-C
	shown.End()
	time.Sleep(lastWords) //nolint:forbidigo // no event tells that a browser has read
	errs := []error{page.Close(), shown.Undone()}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		errs = append(errs, err)
	}
	if on.Boots {
		if err := on.Down(context.WithoutCancel(ctx)); err != nil {
			errs = append(errs, fmt.Errorf("taking the cluster down: %w", err))
		}
	}
	if !ended {
		errs = append(errs, runErr)
		for _, s := range outcome.Strategies {
			if s.Reason != "" {
				errs = append(errs, fmt.Errorf("%s was not shown: %s", s.Name, s.Reason))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return exitError{exitFindings, err}
	}
	return nil
}

// lastWords is how long the pages that are open have to read that the lab ends.
const lastWords = 300 * time.Millisecond
