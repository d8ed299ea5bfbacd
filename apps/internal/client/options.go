package client

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/grpc-lb/grpc-lb/apps/internal/admin"
	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
	"github.com/grpc-lb/grpc-lb/apps/internal/metrics"
	"github.com/grpc-lb/grpc-lb/apps/internal/policy"
	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles"
)

const defaultRate = 50

// options is the command line. Its Config lacks the resolvers.
type options struct {
	loadgen.Config
	resolve  bool // the sub-command
	version  bool
	admin    string
	metrics  string
	tls      tlsfiles.Client
	output   string
	logLevel slog.Level
}

const help = `Calls EchoService, logs every second how many calls each server answered, and prints a
summary at the end.

  %[1]s --target dns:///echo-server:8080 --lb-policy round_robin --duration 10s
  %[1]s --target dns:///echo-server:8080 --fresh-connections 200
  %[1]s resolve --target dns:///echo-server:8080

The sub-command resolve prints the addresses that gRPC's resolver finds for --target.

`

// parse returns the command line, checked but for what loadgen.Config.Validate
// checks. It prints the help to stdout and returns pflag.ErrHelp when
// that is asked for.
func (p Program) parse(args []string, stdout io.Writer) (options, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	id := echo.IdentityFrom(os.Getenv, host, echo.Version())
	opts := options{Config: loadgen.Config{Pod: id.Pod, Node: id.Node, Version: id.Version}}
	if opts.Pod == "" {
		opts.Pod = host
	}

	fs := pflag.NewFlagSet(p.Name, pflag.ContinueOnError)
	fs.SetOutput(stdout)
	fs.SortFlags = false
	fs.Usage = func() { fmt.Fprintf(stdout, help+"Flags:\n%[2]s", p.Name, fs.FlagUsages()) }
	targets := "target of the calls: dns:///name:port, passthrough:///host:port, " + p.Target + "; the client ignores HTTPS_PROXY"
	if len(args) > 0 && args[0] == "resolve" {
		opts.resolve, args = true, args[1:]
		opts.addResolveFlags(fs, targets)
	} else {
		opts.addCallFlags(fs, targets)
	}
	if err := fs.Parse(args); err != nil {
		return opts, err
	}
	if fs.NArg() > 0 {
		return opts, fmt.Errorf("unexpected argument %q: expected flags, or resolve as the first argument", fs.Arg(0))
	}
	for _, flag := range []string{"rate", "concurrency", "fresh-connections"} {
		if f := fs.Lookup(flag); f != nil && f.Changed && f.Value.String() == "0" {
			return opts, fmt.Errorf("--%s 0: expected more, or no --%[1]s", flag)
		}
	}
	switch {
	case opts.resolve || fs.Changed("rate"):
	case opts.Concurrency > 0 || opts.FreshConnections > 0:
		opts.Rate = 0 // the default rate gives way to the other two ways to call
	default:
		if opts.Rate, err = rateFrom(os.Getenv); err != nil {
			return opts, err
		}
	}
	if opts.version {
		return opts, nil
	}
	if !opts.resolve {
		if err := opts.tls.FromEnv(fs, os.Getenv); err != nil {
			return opts, err
		}
	}
	return opts, opts.check()
}

// rateFrom returns the rate for a command line without --rate: the variable RATE,
// else the default. A variable lets an overlay of Kustomize change the rate
// without a copy of all arguments.
func rateFrom(env func(string) string) (float64, error) {
	value := env("RATE")
	if value == "" {
		return defaultRate, nil
	}
	rate, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(rate) || math.IsInf(rate, 0) || rate <= 0 {
		return 0, fmt.Errorf("RATE=%q: expected calls per second, more than 0", value)
	}
	return rate, nil
}

func (o *options) check() error {
	var errs []error
	if o.admin != "" {
		errs = append(errs, admin.Check(o.admin))
	}
	if o.metrics != "" {
		if err := metrics.Check(o.metrics); err != nil {
			errs = append(errs, fmt.Errorf("--metrics: %w", err))
		}
	}
	if err := o.tls.Validate(); err != nil {
		errs = append(errs, err)
	}
	switch o.output {
	case "auto", "text", "json":
	default:
		errs = append(errs, fmt.Errorf("--output %q: expected auto, text or json", o.output))
	}
	if o.resolve && o.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout %v: expected a positive time", o.Timeout))
	}
	return errors.Join(errs...)
}

// checkResolve checks what the sub-command resolve cannot work with.
func (o *options) checkResolve() error {
	if err := loadgen.CheckTarget(o.Target, o.Resolvers...); err != nil {
		return err
	}
	if loadgen.Scheme(o.Target) == loadgen.XDS {
		return fmt.Errorf("resolve --target %q: gRPC's xds resolver shows no addresses; start the client without resolve, and read ClientStatusDiscoveryService on its --admin port", o.Target)
	}
	return nil
}

func (o *options) addCommonFlags(fs *pflag.FlagSet, targets string, timeout time.Duration, timeoutUsage string) {
	fs.StringVar(&o.Target, "target", "", targets)
	fs.DurationVar(&o.Timeout, "timeout", timeout, timeoutUsage)
	fs.StringVar(&o.output, "output", "auto", "format of the output: text, json, or auto, which is text on a terminal and json elsewhere")
	fs.Func("log-level", "level of the client's own log: debug, info, warn or error (default info)", func(s string) error {
		if err := o.logLevel.UnmarshalText([]byte(s)); err != nil {
			return errors.New("expected debug, info, warn or error")
		}
		return nil
	})
}

func (o *options) addResolveFlags(fs *pflag.FlagSet, targets string) {
	o.addCommonFlags(fs, targets, 5*time.Second, "time limit of the resolution")
}

func (o *options) addCallFlags(fs *pflag.FlagSet, targets string) {
	o.addCommonFlags(fs, targets, time.Second, "time limit of one call")
	fs.StringVar(&o.Policy, "lb-policy", "", "load-balancing policy: "+strings.Join(policy.Names(), ", ")+" (default pick_first)")
	fs.StringVar(&o.ServiceConfig, "service-config", "", "gRPC service config in JSON; it replaces --lb-policy")
	fs.BoolVar(&o.NoServiceConfigLookup, "no-service-config-lookup", true, "ignore service configs that the resolver finds, and make no TXT look-ups")
	fs.StringVar(&o.Method, "method", loadgen.MethodEcho, "method to call: echo; stream, which makes all calls as messages of one stream, and opens it again when it ends; or health, which is Check of gRPC's health service: servers of others have it too, and the client counts them by address")
	fs.StringVar(&o.Authority, "authority", "", ":authority header of the calls (default: derived from the target)")
	o.tls.AddFlags(fs)
	fs.Float64Var(&o.Rate, "rate", defaultRate, "open loop: calls per second; the client starts each call on time, even if earlier calls are slow; the environment variable RATE sets the default")
	fs.IntVar(&o.Concurrency, "concurrency", 0, "closed loop: number of callers, each of which makes one call at a time; it replaces --rate")
	fs.Int64Var(&o.FreshConnections, "fresh-connections", 0, "number of new connections to open, with one call on each; --concurrency (default 8) of them are open at a time")
	fs.DurationVar(&o.Duration, "duration", 0, "time after which the client stops (default: it runs until a signal)")
	fs.Int64Var(&o.Count, "count", 0, "number of calls after which the client stops (default: it runs until a signal)")
	fs.BoolVar(&o.WaitForReady, "wait-for-ready", false, "let a call wait for a connection until its time limit; without it the call fails at once")
	fs.DurationVar(&o.KeepaliveTime, "keepalive-time", 30*time.Second, "time without traffic after which the client pings a connection; 0 disables pings")
	fs.DurationVar(&o.KeepaliveTimeout, "keepalive-timeout", 10*time.Second, "time after which the client closes a connection whose ping has no answer")
	fs.StringVar(&o.Message, "message", "hello", "message of each call")
	fs.StringToStringVar(&o.Metadata, "metadata", nil, "metadata of each call, NAME=VALUE; a proxy can choose by it")
	fs.StringVar(&o.admin, "admin", "127.0.0.1:9091", "loopback address that serves channelz, LoadBalancerStatsService and ClientControlService; an empty value disables it")
	fs.StringVar(&o.metrics, "metrics", "", "address at which Prometheus reads gRPC's OpenTelemetry metrics, such as :9464 (default: none)")
	fs.BoolVar(&o.version, "version", false, "print the version and exit")
}

// outputs returns where the lines and the client's own log go: JSON puts both on
// stdout, text keeps the log on stderr.
func (o *options) outputs(stdout, stderr io.Writer) (loadgen.Printer, *slog.Logger) {
	level := &slog.HandlerOptions{Level: o.logLevel}
	if o.output == "text" || o.output == "auto" && isTerminal(stdout) {
		return loadgen.Text{W: stdout}, slog.New(slog.NewTextHandler(stderr, level))
	}
	return loadgen.JSON{W: stdout}, slog.New(slog.NewJSONHandler(stdout, level))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
