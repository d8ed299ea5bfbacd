package k8sresolver_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

const roundRobin = `{"loadBalancingConfig": [{"round_robin": {}}]}`

// startPod serves gRPC health on a loopback port and returns a slice for it, since
// each server has a port of its own.
func startPod(t *testing.T, name string) *discoveryv1.EndpointSlice {
	t.Helper()
	at, stop := serveHealth()
	t.Cleanup(stop)
	return withPorts(newSlice(name, pod(name, at.Addr().String(), ready)), port("grpc", int32(at.Port())))
}

// serveHealth serves gRPC health on a loopback port.
func serveHealth() (at netip.AddrPort, stop func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	return netip.MustParseAddrPort(listener.Addr().String()), func() { server.Stop(); <-done }
}

func addrOf(es *discoveryv1.EndpointSlice) string {
	return fmt.Sprintf("%s:%d", es.Endpoints[0].Addresses[0], *es.Ports[0].Port)
}

func dial(t *testing.T, cfg *rest.Config, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	builder := k8sresolver.NewBuilder(newClient(t, cfg), quiet())
	conn, err := grpc.NewClient("k8s:///echo-server.shop:grpc", append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithResolvers(builder),
		grpc.WithNoProxy(),
	}, opts...)...)
	if err != nil {
		t.Fatalf("grpc.NewClient: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// call returns the address that answered.
func call(t *testing.T, conn *grpc.ClientConn, opts ...grpc.CallOption) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var from peer.Peer
	_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, append(opts, grpc.Peer(&from))...)
	if err != nil {
		return "", err
	}
	return from.Addr.String(), nil
}

// Tests real calls over a real channel: all pods are called in turn, a new one is
// called, and one that left is not.
func TestChannel_RoundRobin(t *testing.T) {
	api := newAPIServer()
	p1, p2, p3 := startPod(t, "p1"), startPod(t, "p2"), startPod(t, "p3")
	api.set(p1, p2)
	conn := dial(t, api.start(t), grpc.WithDefaultServiceConfig(roundRobin))

	converge := func(want ...*discoveryv1.EndpointSlice) {
		t.Helper()
		expected := make(map[string]bool)
		for _, es := range want {
			expected[addrOf(es)] = true
		}
		deadline := time.Now().Add(patience)
		for time.Now().Before(deadline) {
			got := make(map[string]bool)
			for range 3 * len(want) {
				addr, err := call(t, conn)
				if err != nil {
					t.Fatalf("call: %v", err)
				}
				got[addr] = true
			}
			if fmt.Sprint(got) == fmt.Sprint(expected) {
				return
			}
		}
		t.Fatalf("the calls did not reach exactly %v within %v", expected, patience)
	}
	converge(p1, p2)
	api.set(p3)
	converge(p1, p2, p3)
	api.remove(p1)
	converge(p2, p3)
}

// Tests what a caller sees of a missing permission under each policy: the error at
// once and in full.
func TestChannel_ForbiddenReachesCaller(t *testing.T) {
	for _, policy := range []string{"pick_first", "round_robin"} {
		t.Run(policy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, cfg := newInMemoryAPI()
				api.refuseWith(forbidden("list"))
				conn := dial(t, cfg, grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig": [{%q: {}}]}`, policy)))
				began := time.Now()
				_, err := call(t, conn)
				if took := time.Since(began); took > time.Second {
					t.Errorf("the call took %v, want 1 s at most", took)
				}
				want := `User "system:serviceaccount:shop:client" cannot list resource`
				if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), want) {
					t.Errorf("call error = %v, want Unavailable with %q", err, want)
				}
			})
		})
	}
}

// Tests scaling to zero and back: calls fail at once with the counts, and one that
// waits for ready succeeds with the next pod.
func TestChannel_ScaleFromZero(t *testing.T) {
	api := newAPIServer()
	p1 := startPod(t, "p1")
	starting := p1.DeepCopy()
	starting.Endpoints[0].Conditions = notReady
	api.set(starting)
	conn := dial(t, api.start(t))

	want := `service "echo-server" in namespace "shop": 0 of 1 endpoints ready`
	if _, err := call(t, conn); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), want) {
		t.Errorf("call error = %v, want Unavailable with %q", err, want)
	}
	waited := make(chan error, 1)
	go func() {
		_, err := call(t, conn, grpc.WaitForReady(true))
		waited <- err
	}()
	api.set(p1)
	if err := <-waited; err != nil {
		t.Errorf("wait-for-ready call error = %v, want none", err)
	}

	api.set(starting)
	deadline := time.Now().Add(patience)
	for {
		_, err := call(t, conn)
		if err != nil && strings.Contains(err.Error(), want) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("call error = %v, want it to contain %q", err, want)
		}
	}
	api.set(p1)
	if _, err := call(t, conn, grpc.WaitForReady(true)); err != nil {
		t.Errorf("wait-for-ready call error = %v, want none", err)
	}
}

// Tests that a channel goes idle and comes back without asking the API server again,
// and that none of it is left over.
func TestChannel_Idle(t *testing.T) {
	api := newAPIServer()
	api.set(startPod(t, "p1"))
	conn := dial(t, api.start(t), grpc.WithIdleTimeout(20*time.Millisecond))
	for range 5 {
		if _, err := call(t, conn); err != nil {
			t.Fatalf("call: %v", err)
		}
		for state := conn.GetState(); state.String() != "IDLE"; state = conn.GetState() {
			if !conn.WaitForStateChange(t.Context(), state) {
				t.Fatal("the channel did not go idle")
			}
		}
	}
	if got := api.taken(); len(got) != 1 {
		t.Errorf("requests %v, want one", got)
	}
}

// exampleCluster returns the way to an API server that knows one pod.
func exampleCluster() (kubeconfig *rest.Config, stop func()) {
	at, stop := serveHealth()
	api, cfg := newInMemoryAPI()
	e := pod("p1", at.Addr().String(), ready)
	e.NodeName, e.Zone = new("node-1"), new("zone-a")
	api.set(withPorts(newSlice("a", e), port("grpc", int32(at.Port()))))
	return cfg, stop
}
