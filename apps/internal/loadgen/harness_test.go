package loadgen_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/test/bufconn"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is an EchoService whose answers a test decides.
type server struct {
	echopb.UnimplementedEchoServiceServer
	reply *echopb.EchoResponse
	delay time.Duration // before the answer
	err   error         // instead of the answer
	// perStream, if set, is how many messages of a stream are answered before ends.
	perStream int
	ends      error

	mu      sync.Mutex
	peers   map[string]int // calls by the address they came from
	asked   map[string]int // calls, or messages, by their metadata x-version
	streams int            // opened
}

func (s *server) Echo(ctx context.Context, _ *echopb.EchoRequest) (*echopb.EchoResponse, error) {
	if p, ok := peer.FromContext(ctx); ok {
		s.mu.Lock()
		s.peers[p.Addr.String()]++
		s.mu.Unlock()
	}
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		s.mu.Lock()
		s.asked[strings.Join(md["x-version"], ",")]++
		s.mu.Unlock()
	}
	if s.delay > 0 {
		timer := time.NewTimer(s.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.reply, s.err
}

func named(pod string) *server {
	return &server{reply: &echopb.EchoResponse{Pod: pod, From: pod + "@node", Node: "node", Zone: "zone"}}
}

// cluster starts the servers and returns a configuration whose target resolves
// to all of them, by gRPC's round_robin: on loopback, or in memory for tests in
// virtual time. They stop when the test ends.
func cluster(t *testing.T, inMemory bool, servers ...*server) loadgen.Config {
	t.Helper()
	listeners := map[string]*bufconn.Listener{}
	names := manual.NewBuilderWithScheme("test")
	var state resolver.State
	for i, s := range servers {
		s.peers, s.asked = map[string]int{}, map[string]int{}
		var lis net.Listener
		addr := fmt.Sprintf("server-%d", i)
		if inMemory {
			buffer := bufconn.Listen(1 << 16)
			listeners[addr], lis = buffer, buffer
		} else {
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr, lis = tcp.Addr().String(), tcp
		}
		srv := grpc.NewServer()
		echopb.RegisterEchoServiceServer(srv, s)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(lis) }()
		t.Cleanup(func() {
			srv.Stop()
			if err := <-served; err != nil {
				t.Errorf("server: %v", err)
			}
		})
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}})
	}
	names.InitialState(state)
	cfg := loadgen.Config{
		Target: "test:///servers", Policy: "round_robin", Timeout: time.Second,
		NoServiceConfigLookup: true, Resolvers: []resolver.Builder{names},
	}
	if inMemory {
		cfg.DialOptions = append(cfg.DialOptions, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			if lis, ok := listeners[addr]; ok {
				return lis.DialContext(ctx)
			}
			return nil, errors.New("nobody listens on " + addr)
		}))
	}
	return cfg
}

// recorder keeps the lines, as the JSON that is written says them.
type recorder struct {
	lines []calllog.Line
	seen  func(calllog.Line) // called with each line, may be nil
}

func (r *recorder) Print(line calllog.Line) error {
	b, err := calllog.Encode(line)
	if err != nil {
		return err
	}
	decoded, err := calllog.Decode(b)
	if err != nil {
		return err
	}
	r.lines = append(r.lines, decoded)
	if r.seen != nil {
		r.seen(decoded)
	}
	return nil
}

func linesOf[T calllog.Line](r *recorder) []T {
	var found []T
	for _, line := range r.lines {
		if l, ok := line.(T); ok {
			found = append(found, l)
		}
	}
	return found
}

// run makes the calls of the configuration to their end and returns the lines.
func run(ctx context.Context, t *testing.T, cfg loadgen.Config) (*recorder, error) {
	t.Helper()
	client, err := loadgen.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := new(recorder)
	err = client.Run(ctx, r)
	return r, err
}
