package experiment

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

const (
	clientAdmin = 9091 // the client's default, on the pod's loopback
	turnSettle  = 1500 * time.Millisecond
	turnTime    = 5 * time.Second
	turnRounds  = 2
	// turnRate is each client's calls a second in its strategy's turn: what a
	// machine of two cores holds for every strategy.
	turnRate = 100
)

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

func (f *Facts) part(c container) string {
	switch {
	case c.name == f.Client && c.app == f.Client:
		return partClient
	case c.name == f.Server && c.app == f.Server:
		return partServer
	}
	return partProxy
}

// takeTurns lets every strategy be called alone, in several rounds, so that what
// the machine does meanwhile meets all of them.
func takeTurns(ctx context.Context, a *arena, p *Phase) (err error) {
	rates, closeRates, err := a.rates(ctx, p.Clients)
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
	resume, err := pauseClients(ctx, rates)
	defer func() { err = errors.Join(err, resume()) }()
	if err != nil {
		return err
	}
	for range turnRounds {
		if err := a.meet(ctx); err != nil {
			return err
		}
		if err := a.quiet.alone(ctx, func() error {
			if err := set(ctx, turnRate); err != nil {
				return err
			}
			turn, err := a.turn(ctx)
			if err != nil {
				return err
			}
			a.record.update(func(f *Facts) { f.Turns = append(f.Turns, *turn) })
			return set(ctx, 0)
		}); err != nil {
			return err
		}
	}
	if a.strategy.Sidecar != "" && !a.strategy.ClientsOnly {
		if err := a.countHandshakes(ctx); err != nil {
			return err
		}
	}
	return a.meet(ctx)
}

// pauseClients lets no client call. Resume lets those call again, as before, that
// were paused; it is to be called after an error, too.
func pauseClients(ctx context.Context, rates []echopb.ClientControlServiceClient) (resume func() error, err error) {
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
		was, err := r.SetRate(ctx, &echopb.SetRateRequest{})
		if err != nil {
			return resume, fmt.Errorf("pausing a client: %w", err)
		}
		before = append(before, was.GetCallsPerSecond())
	}
	return resume, nil
}

// turn measures what the strategy uses for a while.
func (a *arena) turn(ctx context.Context) (*Turn, error) {
	if err := pause(ctx, turnSettle); err != nil {
		return nil, err
	}
	t := &Turn{From: time.Now(), CPU: map[string]time.Duration{}, Memory: map[string]map[string]int64{}}
	before, err := a.usage(ctx)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, turnTime); err != nil {
		return nil, err
	}
	after, err := a.usage(ctx)
	if err != nil {
		return nil, err
	}
	t.To = time.Now()
	was := map[[2]string]time.Duration{}
	for _, c := range before {
		was[[2]string{c.pod, c.name}] = c.CPU
	}
	for _, c := range after {
		if begin, known := was[[2]string{c.pod, c.name}]; known {
			t.CPU[a.facts.part(c)] += c.CPU - begin
		}
		if t.Memory[c.pod] == nil {
			t.Memory[c.pod] = map[string]int64{}
		}
		t.Memory[c.pod][c.name] = c.WorkingSet
	}
	return t, nil
}

// rates opens the clients' admin ports, which answer only inside of the pods.
func (a *arena) rates(ctx context.Context, clients []string) (all []echopb.ClientControlServiceClient, closeAll func(), err error) {
	var closers []func()
	closeAll = func() {
		for _, c := range closers {
			c()
		}
	}
	for _, name := range clients {
		port, stop, err := a.kube.Forward(ctx, a.facts.Namespace, name, clientAdmin)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		closers = append(closers, stop)
		conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		closers = append([]func(){func() { _ = conn.Close() }}, closers...)
		all = append(all, echopb.NewClientControlServiceClient(conn))
	}
	return all, closeAll, nil
}

// within returns the clients' windows that lie in a turn.
func (f *Facts) within(t Turn) []calllog.Window {
	var all []calllog.Window
	for _, name := range keys(f.Clients) {
		all = append(all, f.Clients[name].between(t.From, t.To)...)
	}
	return all
}
