package slow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
	"github.com/grpc-lb/grpc-lb/apps/internal/policy"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

const (
	scheme      = "slow"
	slowServer  = "server-0"
	callTimeout = 5 * time.Second
	maxServers  = 100
	maxClients  = 100
	maxRate     = 10_000
	maxRounds   = 100
)

// Config says what is measured.
type Config struct {
	Servers   int           // one of which is slow
	Delay     time.Duration // of an answer of all others
	SlowDelay time.Duration
	Rate      float64       // calls per second of all clients together
	Clients   int           // each with channels and a balancer of its own
	Rounds    int           // in each of which all policies have their turn
	Time      time.Duration // that is measured of a turn
	Policies  []policy.Policy

	// Listen returns where the next server listens.
	Listen      func() (net.Listener, error)
	DialOptions []grpc.DialOption // applied last
	// Step is called when a step begins. The function that it returns is called when the
	// step ends. Step may be nil.
	Step func(name string) (end func(error))
}

// Default is the measurement that `lab slow` makes without flags, over loopback.
func Default() Config {
	return Config{
		Servers: 10, Delay: 2 * time.Millisecond, SlowDelay: 50 * time.Millisecond,
		Rate: 1000, Clients: 10, Rounds: 5, Time: 5 * time.Second, Policies: policy.All,
		Listen: func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
	}
}

// Validate returns one error that names every violation by its flag.
func (c *Config) Validate() error {
	var errs []error
	reject := func(bad bool, flag string, value any, expected string) {
		if bad {
			errs = append(errs, fmt.Errorf("--%s %v: expected %s", flag, value, expected))
		}
	}
	reject(c.Servers < 2 || c.Servers > maxServers, "servers", c.Servers, fmt.Sprintf("2 to %d", maxServers))
	reject(c.Delay < 0, "delay", c.Delay, "0s or more")
	reject(c.SlowDelay < c.Delay || c.SlowDelay >= callTimeout, "slow-delay", c.SlowDelay, fmt.Sprintf("at least --delay and less than %v", callTimeout))
	reject(!(c.Rate >= 1 && c.Rate <= maxRate), "rate", c.Rate, fmt.Sprintf("1 to %d calls per second", maxRate))
	reject(c.Clients < 1 || c.Clients > maxClients, "clients", c.Clients, fmt.Sprintf("1 to %d", maxClients))
	reject(c.Rounds < 1 || c.Rounds > maxRounds, "rounds", c.Rounds, fmt.Sprintf("1 to %d", maxRounds))
	reject(c.Time < time.Second, "time", c.Time, "1s or more")
	return errors.Join(errs...)
}

// Run measures. When it returns, every server and client is stopped, also after an
// error.
func Run(ctx context.Context, cfg Config) (Result, error) {
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	result := Result{
		Note: note, Started: time.Now(), Servers: cfg.Servers, DelayMS: ms(cfg.Delay), SlowDelayMS: ms(cfg.SlowDelay),
		Rate: cfg.Rate, Clients: cfg.Clients, Rounds: cfg.Rounds, TimeS: cfg.Time.Seconds(),
	}
	servers, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancelCause(ctx)
	state, err := startServers(ctx, servers, &cfg)
	if err == nil {
		result.Policies, err = takeTurns(ctx, &cfg, state)
	}
	stop(errDone)
	if failed := servers.Wait(); err == nil && !errors.Is(failed, errDone) {
		err = failed
	}
	return result, err
}

// errDone ends servers whose time has come.
var errDone = errors.New("slow: the measurement is over")

// startServers starts all servers, which end with ctx, and returns where they are.
func startServers(ctx context.Context, group *errgroup.Group, cfg *Config) (state resolver.State, err error) {
	log := slog.New(slog.DiscardHandler)
	for i := range cfg.Servers {
		lis, err := cfg.Listen()
		if err != nil {
			return state, fmt.Errorf("slow: server %d: %w", i, err)
		}
		name := fmt.Sprintf("server-%d", i)
		faults := echo.Faults{Delay: cfg.Delay}
		if name == slowServer {
			faults.Delay = cfg.SlowDelay
		}
		s := echo.New(echo.Config{KeepaliveMinTime: time.Second, Faults: faults}, echo.Identity{Pod: name, Host: name}, log)
		group.Go(func() error { return s.Serve(ctx, lis, nil) })
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: lis.Addr().String()}}})
	}
	return state, nil
}

// takeTurns lets one policy call at a time, in rounds, so that what the machine
// does meanwhile meets all of them.
func takeTurns(ctx context.Context, cfg *Config, state resolver.State) ([]Row, error) {
	totals := make([]*counts, len(cfg.Policies))
	rows := make([]Row, len(cfg.Policies))
	for i, p := range cfg.Policies {
		totals[i] = newCounts()
		rows[i] = Row{Policy: p.Name, ServiceConfig: policy.ServiceConfig(p.Name, p.SlowConfig)}
	}
	for round := range cfg.Rounds {
		for i, p := range cfg.Policies {
			end := func(error) {}
			if cfg.Step != nil {
				end = cfg.Step(fmt.Sprintf("round %d of %d: %s", round+1, cfg.Rounds, p.Name))
			}
			turn, err := takeTurn(ctx, cfg, p, state)
			end(err)
			if err != nil {
				return nil, fmt.Errorf("slow: round %d of %s: %w", round+1, p.Name, err)
			}
			rows[i].ShareByRound = append(rows[i].ShareByRound, turn.share())
			totals[i].add(turn)
		}
	}
	for i, t := range totals {
		rows[i].Calls, rows[i].Failed = t.calls, t.failed
		rows[i].Share, rows[i].Latency = t.share(), t.latency.Percentiles()
	}
	return rows, nil
}

// takeTurn lets fresh clients call and counts what they did once they are warm.
func takeTurn(ctx context.Context, cfg *Config, p policy.Policy, state resolver.State) (*counts, error) {
	var all []*loadgen.Client
	for range cfg.Clients {
		names := manual.NewBuilderWithScheme(scheme)
		names.InitialState(state)
		client, err := loadgen.New(loadgen.Config{
			Target: scheme + ":///servers", ServiceConfig: policy.ServiceConfig(p.Name, p.SlowConfig), NoServiceConfigLookup: true,
			Rate: cfg.Rate / float64(cfg.Clients), Duration: p.WarmUp + cfg.Time, Timeout: callTimeout,
			Resolvers: []resolver.Builder{names}, DialOptions: cfg.DialOptions,
		})
		if err != nil {
			return nil, err
		}
		all = append(all, client)
	}
	group, inTurn := errgroup.WithContext(ctx)
	seen := make([]*counts, len(all))
	for i, client := range all {
		seen[i] = newCounts()
		group.Go(func() error {
			// Clients that begin at the same moment would always call at the same moment.
			if err := poll.Sleep(inTurn, time.Duration(float64(i)/cfg.Rate*float64(time.Second))); err != nil {
				return err
			}
			return client.Run(inTurn, &warmOnly{counts: seen[i], warmUp: p.WarmUp})
		})
	}
	turn := newCounts()
	err := group.Wait()
	if ctx.Err() != nil {
		return turn, context.Cause(ctx)
	}
	for _, c := range seen {
		turn.add(c)
	}
	return turn, err
}

// counts are what clients saw.
type counts struct {
	calls, failed int64
	servers       distribution.Counts
	latency       *latency.Histogram
}

func newCounts() *counts { return &counts{servers: distribution.Counts{}, latency: latency.New()} }

func (c *counts) add(other *counts) {
	c.calls += other.calls
	c.failed += other.failed
	c.servers = c.servers.Plus(other.servers)
	c.latency.Merge(other.latency)
}

// share is the slow server's part of the answers.
func (c *counts) share() float64 {
	if c.servers.Total() == 0 {
		return 0
	}
	return float64(c.servers[slowServer]) / float64(c.servers.Total())
}

// warmOnly counts the windows that begin when the client is warm.
type warmOnly struct {
	counts *counts
	warmUp time.Duration
	start  time.Time
}

// Print takes the client's lines in their order.
func (w *warmOnly) Print(line calllog.Line) error {
	switch l := line.(type) {
	case *calllog.Start:
		w.start = l.Time
	case *calllog.Window:
		if l.Start.Before(w.start.Add(w.warmUp)) {
			return nil
		}
		h, err := latency.Decode(l.LatencyHDR)
		if err != nil {
			return err
		}
		c := &counts{calls: l.Calls, servers: l.Servers, latency: h}
		for _, n := range l.Failures {
			c.failed += n
		}
		w.counts.add(c)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
