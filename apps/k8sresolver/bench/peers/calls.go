package main

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// callLimit is how long one call may take.
const callLimit = 2 * time.Second

// Load is calls at a fixed rate, whether or not earlier ones have returned.
type Load struct {
	Port   string
	Second int // calls a second
}

// Tally is what became of calls.
type Tally struct {
	Made, Failed int
	Failure      string // of the first call that failed
}

// perThousand returns how many of 1,000 calls failed.
func (t Tally) perThousand() float64 { return 1000 * float64(t.Failed) / float64(max(t.Made, 1)) }

// load is calls under way.
type load struct {
	stop func()
	all  sync.WaitGroup

	mu    sync.Mutex
	tally Tally
}

// Start makes a channel, waits for its first call and then makes calls until Stop,
// without retries and without wait-for-ready.
func (m *Measured) Start(l Load, _ *struct{}) error {
	conn, err := m.dial(l.Port, grpc.WithDisableRetry())
	if err != nil {
		return err
	}
	if err := call(conn, giveUp, grpc.WaitForReady(true)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.load = &load{stop: cancel}
	m.load.all.Go(func() { m.load.run(ctx, conn, time.Second/time.Duration(l.Second)) })
	return nil
}

// Begin makes a channel and one call that waits for ready, and does not wait for it.
func (m *Measured) Begin(port string, _ *struct{}) error {
	conn, err := m.dial(port)
	if err == nil {
		go func() { _ = call(conn, time.Minute, grpc.WaitForReady(true)) }()
	}
	return err
}

// Stop ends the calls of Start and closes their channel.
func (m *Measured) Stop(_ struct{}, tally *Tally) error {
	m.load.stop()
	m.load.all.Wait()
	*tally = m.load.tally
	return m.Hangup(struct{}{}, nil)
}

func (l *load) run(ctx context.Context, conn *grpc.ClientConn, interval time.Duration) {
	for next := time.Now(); ; next = next.Add(interval) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
			l.all.Go(func() { l.answered(call(conn, callLimit)) })
		}
	}
}

func (l *load) answered(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally.Made++
	if err == nil {
		return
	}
	l.tally.Failed++
	if l.tally.Failed == 1 {
		l.tally.Failure = err.Error()
	}
}

func call(conn *grpc.ClientConn, limit time.Duration, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, opts...)
	return err
}
