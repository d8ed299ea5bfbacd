package k8sresolver_test

import (
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// sink is a channel that hands each set on and keeps none.
type sink struct {
	resolver.ClientConn
	updated chan resolver.State
}

func newSink() *sink { return &sink{updated: make(chan resolver.State, 1)} }

func (s *sink) UpdateState(state resolver.State) error {
	s.updated <- state
	return nil
}

func (s *sink) ReportError(error) {}

func quiet() k8sresolver.Option { return k8sresolver.WithLogger(slog.New(slog.DiscardHandler)) }

// deployment returns n pods in slices of some each, on a node for each ten of them,
// with names and uids as long as real ones.
func deployment(n, each int) []*discoveryv1.EndpointSlice {
	var list []*discoveryv1.EndpointSlice
	for i := range n {
		if i%each == 0 {
			list = append(list, newSlice(fmt.Sprintf("echo-server-%05d", i/each)))
		}
		last := list[len(list)-1]
		last.Endpoints = append(last.Endpoints, bigPod(i))
	}
	return list
}

func bigPod(i int) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses:  []string{fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)},
		Conditions: ready,
		NodeName:   new(fmt.Sprintf("ip-10-0-%d-%d.eu-west-1.compute.internal", i/10/256, i/10%256)),
		Zone:       new(fmt.Sprintf("eu-west-1%c", 'a'+i/10%3)),
		TargetRef: &corev1.ObjectReference{
			Kind: "Pod", Namespace: "shop", Name: fmt.Sprintf("echo-server-7d9f8b6c5d-%05d", i),
			UID: types.UID(fmt.Sprintf("0b9a1c5e-6d0f-4a52-9d3c-%012d", i)),
		},
	}
}

// Measures from the write at the API server to UpdateState, over TLS and HTTP/2 on
// the loopback, with pauses as between the changes of a rollout.
func BenchmarkEventToUpdate(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			api := newAPIServer()
			all := deployment(n, 100)
			api.set(all...)
			cc := newSink()
			r, err := k8sresolver.NewBuilder(newClient(b, api.start(b)), quiet()).
				Build(target("k8s:///echo-server.shop:grpc"), cc, resolver.BuildOptions{})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			<-cc.updated
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				<-time.After(150 * time.Millisecond)
				flip(all[0], i)
				began := time.Now()
				api.set(all[0])
				<-cc.updated
				took = append(took, time.Since(began))
			}
			reportPercentiles(b, took)
		})
	}
}

// flip makes the first pod of a slice ready and not, in turns.
func flip(es *discoveryv1.EndpointSlice, i int) {
	es.Endpoints[0].Conditions = []discoveryv1.EndpointConditions{notReady, ready}[i%2]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Measures the first call of a further channel to a Service, which is that of a channel
// that leaves idle: the endpoints are there, the connection is not.
func BenchmarkFirstCall(b *testing.B) {
	client, stop := exampleClient()
	defer stop()
	builder := k8sresolver.NewBuilder(client, quiet())
	call := func() time.Duration {
		conn, err := grpc.NewClient("k8s:///echo-server.shop:grpc",
			grpc.WithResolvers(builder), grpc.WithNoProxy(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		began := time.Now()
		if _, err := healthpb.NewHealthClient(conn).Check(b.Context(), &healthpb.HealthCheckRequest{}); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	call()
	var took []time.Duration
	for b.Loop() {
		took = append(took, call())
	}
	reportPercentiles(b, took)
}

func reportPercentiles(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
	b.ReportMetric(ms(took[len(took)*99/100]), "p99-ms")
}

// Measures the heap that 10,000 endpoints need, and each further channel to them.
// What gRPC keeps of a state is not the resolver's.
func BenchmarkHeap(b *testing.B) {
	const endpoints, channels = 10_000, 100
	for b.Loop() {
		api := newAPIServer()
		api.set(deployment(endpoints, 100)...)
		builder := k8sresolver.NewBuilder(newClient(b, api.start(b)), quiet())
		open := func() resolver.Resolver {
			cc := newSink()
			r, err := builder.Build(target("k8s:///echo-server.shop:grpc"), cc, resolver.BuildOptions{})
			if err != nil {
				b.Fatal(err)
			}
			if got := len((<-cc.updated).Endpoints); got != endpoints {
				b.Fatalf("%d endpoints, want %d", got, endpoints)
			}
			return r
		}
		before := heap()
		first := open()
		one := heap()
		var others []resolver.Resolver
		for range channels {
			others = append(others, open())
		}
		all := heap()
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(one-before)/(1<<20), "MiB")
		b.ReportMetric(float64(all-one)/channels/(1<<10), "KiB/channel")
		first.Close()
		for _, r := range others {
			r.Close()
		}
		runtime.KeepAlive(api)
	}
}

func heap() int64 {
	var m runtime.MemStats
	for range 3 { // strings that are shared go two collections after their users
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
