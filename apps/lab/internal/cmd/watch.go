package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/live"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/plan"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/progress"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/stage"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/tui"
)

type watchOptions struct {
	run  runOptions
	port int
	tui  bool
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
buttons broke, and deletes what it made. With --tui this terminal shows the same, and
keys are its buttons.

If this checkout's cluster is up, watch uses it; if not, watch boots one. With --context
it uses your own cluster.`,
		Example: "  go run ./apps/lab watch\n  go run ./apps/lab watch --only l4,dns,k8s-api,envoy\n  go run ./apps/lab watch --tui",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.watch(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.run.only, "only", []string{"l4", "k8s-api"}, "show these `overlays`")
	f.IntVar(&o.port, "port", 0, "`port` of the page on the loopback address (default: any free port)")
	f.BoolVar(&o.tui, "tui", false, "show the lanes in this terminal instead of on a page")
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
	if o.tui && o.port != 0 {
		return exitError{exitUsage, fmt.Errorf("--port %d is about the page, and --tui shows none: give one of the two", o.port)}
	}
	if o.tui && (!term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd()))) {
		return exitError{exitUsage, errors.New("--tui: standard input or output is no terminal: leave --tui out to get a page")}
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
		return c.printRBAC(stdout, "watch", o.run.only, nil, changes...)
	}
	var listener net.Listener
	if !o.tui {
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", o.port)); err != nil {
			return exitError{exitUsage, fmt.Errorf("--port %d: %w: choose another, or 0 for any free one", o.port, err)}
		}
		defer listener.Close()
	}
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
	var reporter progress.Reporter = printer
	var end func() error
	if o.tui {
		reporter, end = openTerminal(ctx, shown, printer)
	} else {
		end = openPage(listener, shown, stdout)
		printer.Print("lab: open the link above; end with its button or with Ctrl-C\n")
	}

	watched, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-shown.Done(): // the button also ends what has not begun
			stop()
		case <-watched.Done():
		}
	}()
	outcome, runErr := p.Run(watched, running, plan.Execution{Disposable: on.Boots, Progress: reporter, Live: shown.Watch, Failed: shown.Failed})
	ended := watched.Err() != nil // by the button or by Ctrl-C
	shown.End()
	errs := []error{end(), shown.Undone()}
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

// openPage serves the page until end is called.
func openPage(listener net.Listener, shown *stage.Stage, stdout io.Writer) (end func() error) {
	server := live.New(shown)
	page := &http.Server{Handler: server.Handler(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- page.Serve(listener) }()
	fmt.Fprintf(stdout, "http://%s/%s/\n", listener.Addr(), server.Token)
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), lastWords)
		defer cancel()
		err := page.Shutdown(ctx) // when the open pages have been told of the end
		if errors.Is(err, context.DeadlineExceeded) {
			err = page.Close()
		}
		if served := <-served; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}
}

// openTerminal shows the stage in the terminal until it ends; end waits for that.
func openTerminal(ctx context.Context, shown *stage.Stage, printer *progress.Printer) (reporter progress.Reporter, end func() error) {
	terminal := tui.New(shown, printer)
	closed := make(chan error, 1)
	go func() {
		closed <- terminal.Show(ctx, os.Stdin, os.Stdout)
		shown.End() // also if the terminal failed
	}()
	return terminal, func() error { return <-closed }
}

// lastWords is how long a browser may take to read that the lab ends.
const lastWords = time.Second
