package loadgen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

const (
	defaultMaxInFlight  = 10_000
	defaultFreshAtATime = 8
	// eventBacklog is how many lines may wait for the output before calls wait.
	eventBacklog = 1024
)

// ErrNoAnswer is returned by Run when calls were made and none was answered.
var ErrNoAnswer = errors.New("no call was answered")

// Client makes the calls of one configuration and counts them.
type Client struct {
	cfg    Config
	conns  *connections
	pace   *pace // of the open loop, else nil
	tally  *tally
	events chan event
}

// New returns a client for a configuration that is valid, else the error of
// Config.Validate.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.MaxInFlight = cmp.Or(cfg.MaxInFlight, defaultMaxInFlight)
	if cfg.FreshConnections > 0 {
		cfg.Concurrency = cmp.Or(cfg.Concurrency, defaultFreshAtATime)
	}
	c := &Client{cfg: cfg, conns: new(connections), events: make(chan event, eventBacklog)}
	c.tally = newTally(c.conns, c.events)
	c.conns.peer = c.tally.peerShown
	if cfg.Rate > 0 {
		c.pace = newPace(cfg.Rate)
	}
	return c, nil
}

// Run makes calls until ctx is done or the configured number or time is reached,
// waits for those in flight, which end by their timeout, and prints the summary.
// It returns ErrNoAnswer when calls were made but none was answered; calls that
// failed beside answered ones are a measurement, not an error. It may be called
// once.
func (c *Client) Run(ctx context.Context, printer Printer) error {
	conn, err := c.cfg.dial(c.conns)
	if err != nil {
		return err
	}
	defer conn.Close() // after the last window, which tells the live connections
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	printed := make(chan error, 1)
	go func() { printed <- printAll(c.events, printer, cancel) }()
	c.events <- event{line: &calllog.Start{
		Header: at(time.Now()), Target: c.cfg.Target, Policy: c.cfg.policyName(), Pod: c.cfg.Pod, Node: c.cfg.Node, Version: c.cfg.Version,
		Rate: c.cfg.Rate, Concurrency: c.cfg.Concurrency, FreshConnections: c.cfg.FreshConnections,
	}}

	start := c.tally.restart()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		runWindows(c.tally, start, stop)
	}()
	callErr := c.callAll(ctx, conn, start)
	close(stop)
	<-stopped
	summary := c.tally.finish()
	close(c.events)
	if err := errors.Join(callErr, <-printed); err != nil {
		return err
	}
	if _, results := c.tally.results(); results[codes.OK] == 0 && summary.Calls > 0 {
		return fmt.Errorf("%d calls to %s: %w", summary.Calls, c.cfg.Target, ErrNoAnswer)
	}
	return nil
}

// callAll returns when all calls are complete. Fresh connections leave conn
// alone: a channel that is not used never connects.
func (c *Client) callAll(ctx context.Context, conn *grpc.ClientConn, start time.Time) error {
	call := invokeOn(conn, &c.cfg)
	if c.cfg.Method == MethodStream {
		s := newStreamer(conn, &c.cfg, c.tally)
		defer s.close()
		call = s.call
	}
	switch {
	case c.cfg.FreshConnections > 0:
		return freshConnections(ctx, &c.cfg, c.tally, c.conns)
	case c.pace != nil:
		openLoop(ctx, &c.cfg, c.pace, c.tally, start, call)
	default:
		closedLoop(ctx, &c.cfg, c.tally, call)
	}
	return nil
}

// invokeOn returns a function that makes one call on conn. To stop means to issue no
// more calls: one that is under way ends by its own timeout.
func invokeOn(conn *grpc.ClientConn, cfg *Config) invoke {
	call := echo(conn, cfg)
	if cfg.Method == MethodHealth {
		call = health(conn)
	}
	all := sync.Pool{New: func() any { return newSource(!cfg.Unattributed) }}
	return func() answer {
		ctx, cancel := context.WithTimeout(context.Background(), cfg.Timeout)
		defer cancel()
		from := all.Get().(*source)
		defer all.Put(from)
		from.peer = peer.Peer{}
		reply, err := call(ctx, from)
		if err != nil || cfg.Unattributed {
			return answer{err: err}
		}
		return answer{server: serverName(reply, &from.peer), reply: reply}
	}
}

// source is where an answer came from, with the options of the call that find it out.
// They are used again, because calls would make three objects each for them.
type source struct {
	peer    peer.Peer
	options []grpc.CallOption
}

func newSource(ask bool) *source {
	s := &source{options: []grpc.CallOption{grpc.StaticMethod()}}
	if ask {
		s.options = append(s.options, grpc.Peer(&s.peer))
	}
	return s
}

// method calls one method. The reply is that of EchoService, else nil.
type method func(ctx context.Context, from *source) (*echopb.EchoResponse, error)

func echo(conn *grpc.ClientConn, cfg *Config) method {
	request := &echopb.EchoRequest{Message: cfg.Message}
	return func(ctx context.Context, from *source) (*echopb.EchoResponse, error) {
		reply := new(echopb.EchoResponse)
		return reply, conn.Invoke(ctx, echopb.EchoService_Echo_FullMethodName, request, reply, from.options...)
	}
}

func health(conn *grpc.ClientConn) method {
	request := new(healthgrpc.HealthCheckRequest)
	return func(ctx context.Context, from *source) (*echopb.EchoResponse, error) {
		err := conn.Invoke(ctx, healthgrpc.Health_Check_FullMethodName, request, new(healthgrpc.HealthCheckResponse), from.options...)
		if code := status.Code(err); from.peer.Addr != nil && (code == codes.Unimplemented || code == codes.NotFound) {
			err = nil // a server answered
		}
		return nil, err
	}
}
