package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance"
)

const (
	measuredService = "echo"
	measuredPort    = "8080"
	// probe is what the addresses begin with by which updates are told apart.
	probe = "10.200."
)

// Measured is a program that uses a subject, in a process of its own, so that its heap
// and its processor time are the subject's. Its methods are called over its standard
// input and output; while one runs no other does.
type Measured struct {
	program *conformance.Program
	api     conformance.API

	channels []resolver.Resolver
	conns    []*grpc.ClientConn
	updates  *updates
	load     *load
}

// serve answers calls of the parent until it closes the pipe.
func serve(j job) error {
	p, ok := find(j.Peer)
	if !ok {
		return fmt.Errorf("peers: no resolver is named %q", j.Peer)
	}
	program, err := p.Open(j.API)
	if err != nil {
		return err
	}
	server := rpc.NewServer()
	if err := server.Register(&Measured{program: program, api: j.API, updates: &updates{}}); err != nil {
		return err
	}
	server.ServeCodec(jsonrpc.NewServerCodec(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout}))
	return nil
}

// Update is one call of UpdateState.
type Update struct {
	At        time.Time
	Endpoints int
	Probe     string // the address that begins with probe, if there is one
}

// updates counts what channels are told, and keeps none of it but this.
type updates struct {
	mu  sync.Mutex
	all []Update
}

func (u *updates) add(s resolver.State) {
	now := Update{At: time.Now(), Endpoints: len(s.Endpoints)}
	if s.Endpoints == nil {
		now.Endpoints = len(s.Addresses)
	}
	for _, a := range s.Addresses {
		if strings.HasPrefix(a.Addr, probe) {
			now.Probe, _, _ = strings.Cut(a.Addr, ":")
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all = append(u.all, now)
}

// observer is a channel of which only the updates count.
type observer struct {
	resolver.ClientConn // nil, or the real one
	updates             *updates
}

func (o observer) UpdateState(s resolver.State) error {
	o.updates.add(s)
	if o.ClientConn != nil {
		return o.ClientConn.UpdateState(s)
	}
	return nil
}

func (o observer) ReportError(err error) {
	if o.ClientConn != nil {
		o.ClientConn.ReportError(err)
	}
}

func (o observer) ParseServiceConfig(string) *serviceconfig.ParseResult {
	return &serviceconfig.ParseResult{Err: errors.New("there is no service config here")}
}

// Open builds resolvers for channels that do nothing.
func (m *Measured) Open(n int, _ *struct{}) error {
	target, err := url.Parse(m.program.Target(measuredService, m.api.Namespace, measuredPort))
	if err != nil {
		return err
	}
	for range n {
		r, err := m.program.Builder.Build(resolver.Target{URL: *target}, observer{updates: m.updates}, resolver.BuildOptions{DisableServiceConfig: true})
		if err != nil {
			return err
		}
		m.channels = append(m.channels, r)
	}
	return nil
}

// Updates returns the updates so far.
func (m *Measured) Updates(_ struct{}, all *[]Update) error {
	m.updates.mu.Lock()
	defer m.updates.mu.Unlock()
	*all = append([]Update{}, m.updates.all...)
	return nil
}

// Forget forgets the updates so far.
func (m *Measured) Forget(struct{}, *struct{}) error {
	m.updates.mu.Lock()
	defer m.updates.mu.Unlock()
	m.updates.all = nil
	return nil
}

// Close closes the resolvers that Open has built and returns how long each took.
func (m *Measured) Close(_ struct{}, took *[]time.Duration) error { //nolint:unparam // net/rpc wants it
	for _, r := range m.channels {
		began := time.Now()
		r.Close()
		*took = append(*took, time.Since(began))
	}
	m.channels = nil
	return nil
}

// Heap returns the bytes in use after a collection.
func (m *Measured) Heap(_ struct{}, bytes *uint64) error { //nolint:unparam // net/rpc wants it
	for range 3 { // what finalizers free goes with the next one
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	*bytes = stats.HeapAlloc
	return nil
}

// CPU returns the processor time that the process has used.
func (m *Measured) CPU(_ struct{}, used *time.Duration) error {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	*used = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	return nil
}

// Dial makes a real channel with round_robin whose connections are never made: what an
// update costs is gRPC's own work.
func (m *Measured) Dial(struct{}, *struct{}) error {
	_, err := m.dial(measuredPort, grpc.WithContextDialer(neverConnect))
	if err == nil {
		m.conns[len(m.conns)-1].Connect()
	}
	return err
}

// Hangup closes the channels of Dial, Idle and Start.
func (m *Measured) Hangup(struct{}, *struct{}) error {
	var errs []error
	for _, c := range m.conns {
		errs = append(errs, c.Close())
	}
	m.conns = nil
	return errors.Join(errs...)
}

// Idleness is how often a channel goes idle, and the port that it calls.
type Idleness struct {
	Times int
	Port  string
}

// Idle makes a channel, and returns how long the first call takes after each time that
// it was idle.
func (m *Measured) Idle(i Idleness, took *[]time.Duration) error {
	conn, err := m.dial(i.Port, grpc.WithIdleTimeout(30*time.Millisecond))
	if err != nil {
		return err
	}
	for n := range i.Times + 1 {
		began := time.Now()
		err := call(conn, giveUp, grpc.WaitForReady(true))
		if n > 0 { // the first one was not idle before
			*took = append(*took, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(context.Background(), giveUp)
		for s := conn.GetState(); err == nil && s != connectivity.Idle; s = conn.GetState() {
			if !conn.WaitForStateChange(ctx, s) {
				err = errors.New("the channel does not become idle")
			}
		}
		cancel()
		if err != nil {
			return fmt.Errorf("peers: call %d: %w", n, err)
		}
	}
	return nil
}

func (m *Measured) dial(port string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(m.program.Target(measuredService, m.api.Namespace, port), append([]grpc.DialOption{
		grpc.WithResolvers(observed{m.program.Builder, m.updates}),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
	}, opts...)...)
	if err == nil {
		m.conns = append(m.conns, conn)
	}
	return conn, err
}

// observed counts the updates of the resolvers that it builds.
type observed struct {
	resolver.Builder
	updates *updates
}

func (o observed) Build(target resolver.Target, cc resolver.ClientConn, opts resolver.BuildOptions) (resolver.Resolver, error) {
	return o.Builder.Build(target, observer{cc, o.updates}, opts)
}

// neverConnect leaves each attempt to its time-out.
func neverConnect(ctx context.Context, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
