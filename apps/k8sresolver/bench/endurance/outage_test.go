package endurance_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/faults"
)

// Tests outages of the API server under calls: its connections are cut and new ones
// refused, meanwhile the Service changes. Every call succeeds, and the change is there
// soon after the API server is back.
func TestOutage(t *testing.T) {
	for _, test := range []struct {
		name   string
		length time.Duration
		goal   time.Duration // from the end of the outage to the first call of the new pod
		light  bool
	}{
		{name: "short", length: 3 * time.Second, goal: time.Second, light: true},
		{name: "long", length: 10 * time.Minute, goal: 30 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !test.light && !*full {
				t.Skipf("takes %v; the simulated one is run instead", test.length)
			}
			outage(t, "outage."+test.name, pick(500*time.Millisecond, test.length), test.goal)
		})
	}
}

func outage(t *testing.T, name string, length, goal time.Duration) {
	t.Helper()
	api := startScripted(t)
	all := newPods(t, 0).startMany(3)
	added := all[2]
	api.Set(sliceOf(all[:2]...))
	at, err := url.Parse(api.URL())
	must(t, err)
	proxy, err := faults.Start(at.Host)
	must(t, err)
	t.Cleanup(proxy.Stop)
	place := placeOf(api)
	place.URL = "https://" + proxy.Addr()
	c := newCalls(t, dial(t, grpc.WithResolvers(k8sresolver.NewBuilder(newClient(t, place.config()), quiet()))), 10*time.Millisecond)
	c.await(func() bool { return c.reached(all[:2]) })
	<-time.After(time.Second + 100*time.Millisecond) // a watch is healthy after a second

	mend := proxy.Cut()
	api.Set(sliceOf(all...))
	<-time.After(length)
	must(t, mend())
	began := time.Now()
	c.awaitWithin(goal+patience, func() bool { return c.since[added.name] > 0 })
	took := time.Since(began)
	c.stop()
	note(t, name+".calls", float64(c.made), "calls")
	atMost(t, name+".failed", float64(c.failed), "", 0)
	atMost(t, name+".recovered", took.Seconds(), "s", goal.Seconds())
}

// Tests ten minutes without API server in simulated time, with a call every 50 ms: all
// succeed, and a new pod is called at most 30 s after the API server is back.
func TestOutage_Simulated(t *testing.T) {
	const length, goal, interval = 10 * time.Minute, 30 * time.Second, 50 * time.Millisecond
	api := startScripted(t) // used without its network, which time could not be simulated with
	synctest.Test(t, func(t *testing.T) {
		network := &inMemory{}
		first, second := network.pod(t, "10.0.0.1"), network.pod(t, "10.0.0.2")
		api.Set(newSlice(service, "a", 8080, imagined(1, 10)))
		client := newClient(t, network.api(t, api))
		conn := dial(t, grpc.WithResolvers(k8sresolver.NewBuilder(client, quiet())), grpc.WithContextDialer(network.dial))
		calls, failed := 0, 0
		callFor := func(d time.Duration, until func() bool) time.Duration {
			began := time.Now()
			for time.Since(began) < d && !until() {
				calls++
				if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
					failed++
					t.Errorf("a call failed: %v", err)
				}
				time.Sleep(interval)
			}
			return time.Since(began)
		}
		never := func() bool { return false }
		callFor(time.Minute, never)

		network.down.Store(true)
		api.Reset()
		callFor(length/2, never)
		api.Set(newSlice(service, "a", 8080, imagined(1, 10), imagined(2, 10)))
		callFor(length/2, never)
		if first.Load() == 0 || second.Load() > 0 {
			t.Errorf("during the outage %d calls to the old pod and %d to the new one, want none of the latter", first.Load(), second.Load())
		}
		network.down.Store(false)
		took := callFor(2*goal, func() bool { return second.Load() > 0 })
		note(t, "outage.simulated.calls", float64(calls), "calls")
		atMost(t, "outage.simulated.failed", float64(failed), "", 0)
		atMost(t, "outage.simulated.recovered", took.Seconds(), "s", goal.Seconds())
		if took > goal {
			t.Errorf("recovered after %v of simulated time, want %v at most", took, goal)
		}
	})
}

// inMemory is a network without sockets, which time could not be simulated with.
type inMemory struct {
	down      atomic.Bool // the API server refuses connections
	listeners map[string]*bufconn.Listener
}

// listen returns the listener of a host.
func (n *inMemory) listen(host string) *bufconn.Listener {
	if n.listeners == nil {
		n.listeners = make(map[string]*bufconn.Listener)
	}
	n.listeners[host] = bufconn.Listen(1 << 16)
	return n.listeners[host]
}

// api starts an HTTP server, whose connections serve one request each so that none
// outlives its API server's outage, and returns how clients reach it.
func (n *inMemory) api(t *testing.T, handler http.Handler) *rest.Config {
	t.Helper()
	server := &http.Server{Handler: handler}
	server.SetKeepAlivesEnabled(false)
	listener := n.listen(apiHost)
	go func() { _ = server.Serve(listener) }() // ended by Close
	t.Cleanup(func() { _ = server.Close() })
	return &rest.Config{Host: "http://" + apiHost, Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
		if n.down.Load() {
			return nil, errors.New("connection refused")
		}
		return n.dial(ctx, address)
	}}
}

const apiHost = "api"

// pod starts a pod that counts its calls.
func (n *inMemory) pod(t *testing.T, ip string) *atomic.Int64 {
	t.Helper()
	answered := new(atomic.Int64)
	server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		answered.Add(1)
		return next(ctx, req)
	}))
	healthpb.RegisterHealthServer(server, health.NewServer())
	listener := n.listen(ip)
	go func() { _ = server.Serve(listener) }() // ended by Stop
	t.Cleanup(server.Stop)
	return answered
}

func (n *inMemory) dial(ctx context.Context, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return n.listeners[host].DialContext(ctx)
}
