package conformance

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/apiserver"
)

// serve starts n gRPC servers on one port of the loopback, at 127.0.0.1 and the next
// addresses, all of which Linux has. It returns a slice for each.
func (b *bench) serve(n int) (port string, at []string, slices []*discoveryv1.EndpointSlice) {
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	b.Cleanup(server.Stop)
	port = "0"
	for i := range n {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:%s", 1+i, port))
		b.must(err)
		go func() { _ = server.Serve(listener) }()
		addr := netip.MustParseAddrPort(listener.Addr().String())
		port = fmt.Sprint(addr.Port())
		at = append(at, addr.String())
		name := fmt.Sprint("p", 1+i)
		slices = append(slices, withPorts(slice(name, pod(name, addr.Addr().String())), tcp("grpc", int32(addr.Port()))))
	}
	return port, at, slices
}

// dial returns a channel with round_robin that leaves the proxy of the environment
// alone, which one case is about and no other.
func (b *bench) dial(port string, opts ...grpc.DialOption) *grpc.ClientConn {
	return b.dialAsDocumented(port, append(opts, grpc.WithNoProxy())...)
}

// dialAsDocumented returns a channel with round_robin as the subject tells to make it.
func (b *bench) dialAsDocumented(port string, opts ...grpc.DialOption) *grpc.ClientConn {
	p := b.program()
	opts = append(append([]grpc.DialOption{
		grpc.WithResolvers(p.Builder),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
	}, p.Options...), opts...)
	conn, err := grpc.NewClient(p.Target(service, b.access.Namespace, port), opts...)
	if err != nil {
		b.Fatalf("grpc.NewClient: %v", err)
	}
	b.Cleanup(func() { inTime(func() { _ = conn.Close() }) })
	return conn
}

// call makes a call and returns which server answered.
func (b *bench) call(conn *grpc.ClientConn, limit time.Duration, opts ...grpc.CallOption) (string, error) {
	ctx, cancel := context.WithTimeout(b.Context(), limit)
	defer cancel()
	var from peer.Peer
	_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, append(opts, grpc.Peer(&from))...)
	if err != nil {
		return "", err
	}
	return from.Addr.String(), nil
}

// reaches waits until calls reach exactly these servers.
func (b *bench) reaches(conn *grpc.ClientConn, want ...string) {
	var got map[string]bool
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		got = make(map[string]bool)
		for range 3 * len(want) {
			from, err := b.call(conn, time.Second, grpc.WaitForReady(true))
			if err != nil {
				from = err.Error()
			}
			got[from] = true
		}
		all := len(got) == len(want)
		for _, w := range want {
			all = all && got[w]
		}
		if all {
			return
		}
		b.pause(20 * time.Millisecond)
	}
	b.Fatalf("within %v: calls reach %v, want %v", patience, got, want)
}

// callCases are about what callers see through a real channel with round_robin.
var callCases = []Case{
	{
		Name: "calls-miss-a-pod",
		Want: "calls reach every ready pod, also one that comes later, and none that has gone",
		run: func(b *bench) {
			port, at, pods := b.serve(3)
			b.set(pods[:2]...)
			conn := b.dial(port)
			b.reaches(conn, at[:2]...)
			b.set(pods[2])
			b.reaches(conn, at...)
			b.remove(pods[0])
			b.reaches(conn, at[1:]...)
		},
	},
	{
		Name: "forbidden-burns-the-calls-deadline",
		Want: "a call fails within a second with the API server's words, not after its deadline",
		run: func(b *bench) {
			b.script.Refuse(func(apiserver.Request) *metav1.Status { return forbidden() })
			began := time.Now()
			_, err := b.call(b.dial(port), 2*patience)
			if took := time.Since(began); took > soon || status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "system:serviceaccount:shop:client") {
				b.Errorf("the call failed after %v with %v, want Unavailable with the name of the service account", took, err)
			}
		},
	},
	{
		Name: "scale-from-zero-loses-the-call",
		Want: "a call that waits for ready is answered by the first pod",
		run: func(b *bench) {
			port, at, pods := b.serve(1)
			b.set(withPorts(slice("p1"), pods[0].Ports...))
			conn := b.dial(port)
			answered := make(chan error, 1)
			go func() {
				_, err := b.call(conn, patience, grpc.WaitForReady(true))
				answered <- err
			}()
			b.pause(300 * time.Millisecond)
			b.set(pods[0])
			if err := <-answered; err != nil {
				b.Fatalf("the call failed: %v", err)
			}
			b.reaches(conn, at...)
		},
	},
	{
		Name: "scale-to-zero-calls-the-dead",
		Want: "with no endpoint left a call fails at once, and one that waits is answered by the next pod",
		run: func(b *bench) {
			port, at, pods := b.serve(2)
			b.set(pods[0])
			conn := b.dial(port)
			if _, err := b.call(conn, patience, grpc.WaitForReady(true)); err != nil {
				b.Fatalf("the first call failed: %v", err)
			}
			b.remove(pods[0])
			deadline := time.Now().Add(patience)
			for {
				_, err := b.call(conn, time.Second)
				if status.Code(err) == codes.Unavailable {
					break
				}
				if time.Now().After(deadline) {
					b.Fatalf("within %v: a call gave %v, want Unavailable", patience, err)
				}
				b.pause(20 * time.Millisecond)
			}
			b.set(pods[1])
			b.reaches(conn, at[1])
		},
	},
	{
		Name: "idle-channel-never-returns",
		Want: "a channel that was idle works again",
		run: func(b *bench) {
			port, _, pods := b.serve(1)
			b.set(pods[0])
			conn := b.dial(port, grpc.WithIdleTimeout(50*time.Millisecond))
			for range 3 {
				if _, err := b.call(conn, patience, grpc.WaitForReady(true)); err != nil {
					b.Fatalf("a call failed: %v", err)
				}
				ctx, cancel := context.WithTimeout(b.Context(), patience)
				for s := conn.GetState(); s != connectivity.Idle; s = conn.GetState() {
					if !conn.WaitForStateChange(ctx, s) {
						cancel()
						b.Fatalf("within %v: the channel is %v, want it idle", patience, s)
					}
				}
				cancel()
			}
		},
	},
	{
		Name: "closing-channels-in-a-storm-deadlocks",
		Want: "channels can be closed while updates come",
		run: func(b *bench) {
			port, at, pods := b.serve(1)
			b.set(pods[0])
			for i := range 20 {
				conn := b.dial(port)
				if _, err := b.call(conn, patience, grpc.WaitForReady(true)); err != nil {
					b.Fatalf("a call failed: %v", err)
				}
				for j := range 5 {
					next := pods[0].DeepCopy()
					if (i+j)%2 == 0 {
						next.Endpoints = append(next.Endpoints, pod("other", "127.0.0.2"))
					}
					b.set(next)
				}
				if !inTime(func() { _ = conn.Close() }) {
					b.Fatalf("Close of channel %d has not returned within %v", i, patience)
				}
			}
			b.set(pods[0])
			b.reaches(b.dial(port), at...)
		},
	},
	{
		Name: "proxy-tunnels-pod-addresses",
		Want: "a proxy of the environment does not get to see calls to pods",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "192.0.2.1"))) // nobody's address
			conn := b.dialAsDocumented(port)
			_, _ = b.call(conn, 500*time.Millisecond, grpc.WaitForReady(true))
			if hosts, on := proxied(); !on {
				b.Fatalf("the bench: call SetEnvironment first")
			} else if len(hosts) > 0 {
				b.Errorf("the proxy of the environment was asked to connect to %q", hosts)
			}
		},
	},
}
