package peakewma_test

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/grpc-lb/grpc-lb/apps/peakewma"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers after a delay, or with an error.
type server struct {
	grpc_health_v1.UnimplementedHealthServer
	delay time.Duration
	err   error
	calls atomic.Int64
}

func (s *server) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	s.calls.Add(1)
	time.Sleep(s.delay)
	return &grpc_health_v1.HealthCheckResponse{}, s.err
}

// fleet is servers in memory, and a channel that balances over them.
type fleet struct {
	grpc_health_v1.HealthClient
	names *manual.Resolver
	stop  []func()
}

func (f *fleet) close() {
	for _, stop := range f.stop {
		stop()
	}
}

func newFleet(t *testing.T, servers map[string]*server) *fleet {
	t.Helper()
	f := &fleet{names: manual.NewBuilderWithScheme("fleet")}
	listeners := map[string]*bufconn.Listener{}
	var state resolver.State
	for name, s := range servers {
		lis, g := bufconn.Listen(1<<16), grpc.NewServer()
		grpc_health_v1.RegisterHealthServer(g, s)
		listeners[name] = lis
		go func() { _ = g.Serve(lis) }()
		f.stop = append(f.stop, g.Stop)
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: name}}})
	}
	f.names.InitialState(state)
	conn, err := grpc.NewClient("fleet:///", grpc.WithResolvers(f.names), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"peak_ewma_experimental":{}}]}`),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return listeners[addr].DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	f.HealthClient, f.stop = grpc_health_v1.NewHealthClient(conn), append([]func(){func() { _ = conn.Close() }}, f.stop...)
	return f
}

// call makes n calls a second for a while.
func (f *fleet) call(t *testing.T, rate int, d time.Duration) (failed int) {
	t.Helper()
	var lost atomic.Int64
	var calls sync.WaitGroup
	for range int(float64(rate) * d.Seconds()) {
		calls.Go(func() {
			if _, err := f.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
				lost.Add(1)
			}
		})
		time.Sleep(time.Second / time.Duration(rate))
	}
	calls.Wait()
	return int(lost.Load())
}

// Servers that are alike get about the same, one that is slow hardly any.
func TestSlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, servers := &server{delay: 50 * time.Millisecond}, map[string]*server{}
		for _, name := range []string{"a", "b", "c"} {
			servers[name] = &server{delay: 2 * time.Millisecond}
		}
		servers["slow"] = slow
		f := newFleet(t, servers)
		defer f.close()
		const rate, seconds = 60, 60
		if failed := f.call(t, rate, seconds*time.Second); failed > 0 {
			t.Errorf("%d calls failed", failed)
		}
		for name, s := range servers {
			share := float64(s.calls.Load()) / (rate * seconds)
			t.Logf("%s: %.4f", name, share)
			switch {
			case s == slow && (share > 0.01 || s.calls.Load() < 2):
				t.Errorf("the slow server got %d calls, a share of %.4f; want under 0.01, and some, to see whether it is slow still", s.calls.Load(), share)
			case s != slow && math.Abs(share-1.0/3) > 0.1:
				t.Errorf("%s got a share of %.3f, want about a third", name, share)
			}
		}
	})
}

// A server that is fast again is called again.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		was := &server{delay: 50 * time.Millisecond}
		f := newFleet(t, map[string]*server{"a": {delay: 2 * time.Millisecond}, "was": was})
		defer f.close()
		f.call(t, 30, 5*time.Second)
		was.delay = 2 * time.Millisecond
		f.call(t, 30, 60*time.Second)
		before := was.calls.Load()
		f.call(t, 30, 10*time.Second)
		if got := was.calls.Load() - before; got < 90 {
			t.Errorf("%d of 300 calls went to the server that is fast again, want about half", got)
		}
	})
}

// A server that fails at once is not fast.
func TestFailsFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := &server{err: status.Error(codes.Unavailable, "broken")}
		f := newFleet(t, map[string]*server{"a": {delay: 2 * time.Millisecond}, "b": {delay: 2 * time.Millisecond}, "broken": broken})
		defer f.close()
		failed := f.call(t, 100, 30*time.Second)
		if failed > 30 || int64(failed) != broken.calls.Load() {
			t.Errorf("%d of 3000 calls failed, %d at the broken server; want 1 %% at the most", failed, broken.calls.Load())
		}
	})
}

// What is known about endpoints stays when others come.
func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &server{delay: 50 * time.Millisecond}
		servers := map[string]*server{"a": {delay: 2 * time.Millisecond}, "slow": slow, "new": {delay: 2 * time.Millisecond}}
		f := newFleet(t, servers)
		defer f.close()
		two := resolver.State{Endpoints: []resolver.Endpoint{{Addresses: []resolver.Address{{Addr: "a"}}}, {Addresses: []resolver.Address{{Addr: "slow"}}}}}
		f.names.InitialState(two)
		f.call(t, 100, 2*time.Second)
		known := slow.calls.Load()
		two.Endpoints = append(two.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: "new"}}})
		f.names.UpdateState(two)
		f.call(t, 100, 2*time.Second)
		if slow.calls.Load() != known || servers["new"].calls.Load() < 50 {
			t.Errorf("after an update the slow server got %d calls and the new one %d of 200, want none and about half", slow.calls.Load()-known, servers["new"].calls.Load())
		}
	})
}

// A configuration that says nothing sensible is refused by its value.
func TestConfig(t *testing.T) {
	parser := balancer.Get(peakewma.Name).(balancer.ConfigParser)
	for given, want := range map[string]string{
		`{}`:                 "",
		`{"decay": "500ms"}`: "",
		`{"decay": "0s"}`:    `peak_ewma_experimental: decay "0s", expected a duration of more than 0s, like "10s"`,
		`{"decay": "ten"}`:   `peak_ewma_experimental: decay "ten", expected a duration of more than 0s, like "10s"`,
		`{"decay": 10}`:      "peak_ewma_experimental: json: cannot unmarshal number into Go struct field .decay of type string",
	} {
		cfg, err := parser.ParseConfig([]byte(given))
		if got := errors.Join(err); (got == nil) != (want == "") || got != nil && got.Error() != want || err == nil && cfg == nil {
			t.Errorf("%s: %v, want %q", given, err, want)
		}
	}
}
