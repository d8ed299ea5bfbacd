package endurance_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// What the addresses of pods begin with, and of those that replace them.
const oldNetwork, newNetwork = 10, 11

// channels is the role of a program with channels to one Service.
type channels struct {
	client *k8sresolver.Client
	read   atomic.Int64 // bytes from the API server
	all    []*counted
	ends   []func()
	base   int64 // heap before the first channel
}

// Program says what the program does.
type Program struct {
	Place    Place
	Channels int
	// RoundRobin makes real channels whose pods never answer; without it they are
	// stand-ins that keep nothing, so that all that is measured is the resolver's.
	RoundRobin bool
	// Uncompressed makes it ask for answers that are not compressed.
	Uncompressed bool
}

// Stats is where a program stands.
type Stats struct {
	Complete  int           // channels that have all of the wanted number
	New       int           // new pods that every channel has
	Updates   int64         // of all channels
	Last      time.Time     // when the last update ended
	CPU       time.Duration // of the process
	Read      int64         // bytes from the API server, on the wire
	PerUpdate time.Duration // mean time in UpdateState
}

// Open opens the channels.
func (c *channels) Open(p Program, _ *None) error {
	cfg := p.Place.config()
	var dialer net.Dialer
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return countingConn{conn, &c.read}, nil
	}
	cfg.DisableCompression = p.Uncompressed
	client, err := k8sresolver.NewClient(cfg)
	if err != nil {
		return err
	}
	c.client = client
	builder := k8sresolver.NewBuilder(client, quiet())
	c.base = heap()
	for range p.Channels {
		one := &counted{}
		c.all = append(c.all, one)
		if p.RoundRobin {
			err = c.dial(builder, one)
		} else {
			err = c.build(builder, one)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *channels) build(builder resolver.Builder, one *counted) error {
	r, err := builder.Build(targetOf(echoTarget), one, resolver.BuildOptions{})
	if err == nil {
		c.ends = append(c.ends, r.Close)
	}
	return err
}

func (c *channels) dial(builder resolver.Builder, one *counted) error {
	unanswered := func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	conn, err := grpc.NewClient(echoTarget, dialOptions(
		grpc.WithResolvers(&countingBuilder{Builder: builder, to: one}), grpc.WithContextDialer(unanswered))...)
	if err != nil {
		return err
	}
	conn.Connect()
	c.ends = append(c.ends, func() { _ = conn.Close() })
	return nil
}

// Stat returns where the program stands, of Services with so many endpoints.
func (c *channels) Stat(endpoints int, s *Stats) error {
	*s = Stats{CPU: cpuTime(), Read: c.read.Load(), New: math.MaxInt}
	var last, spent int64
	for _, one := range c.all {
		if int(one.endpoints.Load()) == endpoints {
			s.Complete++
		}
		s.New = min(s.New, int(one.new.Load()))
		s.Updates += one.updates.Load()
		spent += one.spent.Load()
		last = max(last, one.last.Load())
	}
	s.Last = time.Unix(0, last)
	if s.Updates > 0 {
		s.PerUpdate = time.Duration(spent / s.Updates)
	}
	return nil
}

// Heap returns by how many bytes the heap has grown since before the first channel.
func (c *channels) Heap(_ None, grown *int64) error {
	*grown = heap() - c.base
	return nil
}

func (c *channels) close() {
	for _, end := range c.ends {
		end()
	}
	if c.client != nil {
		c.client.Close()
	}
}

// counted counts what a channel is told. As a channel of its own it keeps nothing.
type counted struct {
	resolver.ClientConn
	endpoints, new atomic.Int64 // of the last update
	updates        atomic.Int64
	spent          atomic.Int64 // ns within the real channel's UpdateState
	last           atomic.Int64 // ns since 1970 when the last update ended
}

func (c *counted) UpdateState(s resolver.State) error {
	prefix := fmt.Sprint(newNetwork, ".")
	replaced := 0
	for _, e := range s.Endpoints {
		if strings.HasPrefix(e.Addresses[0].Addr, prefix) {
			replaced++
		}
	}
	c.new.Store(int64(replaced))
	c.endpoints.Store(int64(len(s.Endpoints)))
	c.updates.Add(1)
	c.last.Store(time.Now().UnixNano())
	return nil
}

func (c *counted) ReportError(error) {}

// countingBuilder counts what real channels are told.
type countingBuilder struct {
	resolver.Builder
	to *counted
}

func (b *countingBuilder) Build(target resolver.Target, cc resolver.ClientConn, opts resolver.BuildOptions) (resolver.Resolver, error) {
	return b.Builder.Build(target, &countingChannel{ClientConn: cc, to: b.to}, opts)
}

// OverrideAuthority implements resolver.AuthorityOverrider, as the resolver does.
func (b *countingBuilder) OverrideAuthority(target resolver.Target) string {
	return b.Builder.(resolver.AuthorityOverrider).OverrideAuthority(target)
}

type countingChannel struct {
	resolver.ClientConn
	to *counted
}

func (c *countingChannel) UpdateState(s resolver.State) error {
	began := time.Now()
	err := c.ClientConn.UpdateState(s)
	c.to.spent.Add(int64(time.Since(began)))
	_ = c.to.UpdateState(s) // after it, so that the time is that of the end
	return err
}

// countingConn counts what is read.
type countingConn struct {
	net.Conn
	read *atomic.Int64
}

func (c countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}
