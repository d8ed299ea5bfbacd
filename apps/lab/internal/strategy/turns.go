package strategy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// Turns is the name of the experiment.
const Turns = "in-turns"

var _ = makeWithEvery(runner.Experiment{
	Name: Turns, Order: 20, Purpose: runner.Compare,
	Steady:  everyServerCalled,
	Change:  fmt.Sprintf("all clients pause; %d times each strategy in turn is called alone, with %d calls a second from each client, for %s", turnRounds, turnRate, runner.Seconds(turnTime)),
	Observe: takeTurns,
	AtRest:  true,
})

const (
	turnSettle = 1500 * time.Millisecond
	turnTime   = 5 * time.Second
	turnRounds = 2
	// turnRate is each client's calls a second in its strategy's turn: what a
	// machine of two cores holds for every strategy.
	turnRate = 100
)

// TurnsTaken is what was seen of a strategy that was called alone, in several turns.
type TurnsTaken struct {
	Turns      []Turn
	Handshakes Handshakes // of strategies whose servers have sidecars
}

// Turn is one strategy called at a fixed rate while all others rest.
type Turn struct {
	From, To time.Time
	// CPU is what the containers used meanwhile, by part: client, server, proxy.
	CPU map[string]time.Duration
	// Memory is the working set at the end by pod and container, in bytes.
	Memory map[string]map[string]int64
}

// The parts of a strategy to which the use of a container is put down.
const (
	partClient = "client"
	partServer = "server"
	partProxy  = "proxy"
)

func part(s observe.Subject, c runner.Container) string {
	switch {
	case c.Name == s.Client && c.App == s.Client:
		return partClient
	case c.Name == s.Server && c.App == s.Server:
		return partServer
	}
	return partProxy
}

// takeTurns lets every strategy be called alone, in several rounds, so that what
// the machine does meanwhile meets all of them.
func takeTurns(ctx context.Context, env *runner.Environment, p *observe.Phase) (err error) {
	rates, closeRates, err := rates(ctx, env, p.Clients)
	if err != nil {
		return err
	}
	defer closeRates()
	set := func(ctx context.Context, rate float64) error {
		for _, r := range rates {
			if _, err := r.SetRate(ctx, &echopb.SetRateRequest{CallsPerSecond: rate}); err != nil {
				return fmt.Errorf("setting a client's rate to %v: %w", rate, err)
			}
		}
		return nil
	}
	seen := &TurnsTaken{}
	env.Record.Update(func(*observe.Facts) { p.Evidence = seen })
	resume, err := setRates(ctx, rates, 0)
	defer func() { err = errors.Join(err, resume()) }()
	if err != nil {
		return err
	}
	for range turnRounds {
		if err := env.Meet(ctx, Turns); err != nil {
			return err
		}
		if err := env.Alone(ctx, func() error {
			if err := set(ctx, turnRate); err != nil {
				return err
			}
			turn, err := turn(ctx, env)
			if err != nil {
				return err
			}
			env.Record.Update(func(*observe.Facts) { seen.Turns = append(seen.Turns, *turn) })
			return set(ctx, 0)
		}); err != nil {
			return err
		}
	}
	if env.Strategy.Injected() && !env.Strategy.Sidecar.ClientsOnly {
		counted, err := countHandshakes(ctx, env)
		if err != nil {
			return err
		}
		env.Record.Update(func(*observe.Facts) { seen.Handshakes = counted })
	}
	return env.Meet(ctx, Turns)
}

// setRates lets each client make that many calls a second; 0 is a pause. Resume lets those
// call as before whose rate was set; it is to be called after an error, too.
func setRates(ctx context.Context, rates []echopb.ClientControlServiceClient, rate float64) (resume func() error, err error) {
	var before []float64
	resume = func() error {
		var all error
		for i, rate := range before {
			_, err := rates[i].SetRate(context.WithoutCancel(ctx), &echopb.SetRateRequest{CallsPerSecond: rate})
			all = errors.Join(all, err)
		}
		return all
	}
	for _, r := range rates {
		was, err := r.SetRate(ctx, &echopb.SetRateRequest{CallsPerSecond: rate})
		if err != nil {
			return resume, fmt.Errorf("setting a client's rate to %v: %w", rate, err)
		}
		before = append(before, was.GetCallsPerSecond())
	}
	return resume, nil
}

// turn measures what the strategy uses for a while.
func turn(ctx context.Context, env *runner.Environment) (*Turn, error) {
	if err := poll.Sleep(ctx, turnSettle); err != nil {
		return nil, err
	}
	t := &Turn{From: time.Now(), CPU: map[string]time.Duration{}, Memory: map[string]map[string]int64{}}
	before, err := env.Usage(ctx)
	if err != nil {
		return nil, err
	}
	if err := poll.Sleep(ctx, turnTime); err != nil {
		return nil, err
	}
	after, err := env.Usage(ctx)
	if err != nil {
		return nil, err
	}
	t.To = time.Now()
	was := map[[2]string]time.Duration{}
	for _, c := range before {
		was[[2]string{c.Pod, c.Name}] = c.CPU
	}
	for _, c := range after {
		if begin, known := was[[2]string{c.Pod, c.Name}]; known {
			t.CPU[part(env.Subject, c)] += c.CPU - begin
		}
		if t.Memory[c.Pod] == nil {
			t.Memory[c.Pod] = map[string]int64{}
		}
		t.Memory[c.Pod][c.Name] = c.WorkingSet
	}
	return t, nil
}

// rates opens the clients' admin ports, which answer only inside of the pods.
func rates(ctx context.Context, env *runner.Environment, clients []string) (all []echopb.ClientControlServiceClient, closeAll func(), err error) {
	var closers []func()
	closeAll = func() {
		for _, c := range closers {
			c()
		}
	}
	for _, name := range clients {
		conn, closeConn, err := adminConn(ctx, env, name, clientAdmin)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		closers = append(closers, closeConn)
		all = append(all, echopb.NewClientControlServiceClient(conn))
	}
	return all, closeAll, nil
}

// windowsIn returns the clients' windows that lie in a turn.
func windowsIn(f *observe.Facts, t Turn) []calllog.Window {
	var all []calllog.Window
	for _, name := range observe.Keys(f.Clients) {
		all = append(all, f.Clients[name].Between(t.From, t.To)...)
	}
	return all
}
