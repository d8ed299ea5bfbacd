package endurance_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

const (
	namespace  = "shop"
	service    = "echo-server"
	echoTarget = "k8s:///echo-server.shop:grpc"
	roundRobin = `{"loadBalancingConfig": [{"round_robin": {}}]}`
	// patience is how long a test waits for what must come.
	patience = 20 * time.Second
)

// Conditions of an endpoint.
var (
	ready    = discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)}
	starting = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false), Terminating: new(false)}
	draining = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
)

// newSlice returns an EndpointSlice of the Service with one TCP port, named grpc.
func newSlice(service, name string, port int, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: namespace, Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("grpc"), Port: new(int32(port)), Protocol: new(corev1.ProtocolTCP)}},
		Endpoints:   endpoints,
	}
}

// deployment returns n pods in slices of some each, on a node for each ten of them,
// with names and uids as long as real ones. The network is the first number of their
// addresses.
func deployment(n, each, network int) []*discoveryv1.EndpointSlice {
	var all []*discoveryv1.EndpointSlice
	for i := range n {
		if i%each == 0 {
			all = append(all, newSlice(service, fmt.Sprintf("%s-%05d", service, i/each), 8080))
		}
		last := all[len(all)-1]
		last.Endpoints = append(last.Endpoints, imagined(i, network))
	}
	return all
}

// imagined is the endpoint of a pod that does not exist. Its names are as random as real
// ones, because the API server compresses what it sends.
func imagined(i, network int) discoveryv1.Endpoint {
	random := rand.New(rand.NewPCG(uint64(network), uint64(i)))
	return discoveryv1.Endpoint{
		Addresses:  []string{fmt.Sprintf("%d.%d.%d.%d", network, i>>16&255, i>>8&255, i&255)},
		Conditions: ready,
		NodeName:   new(fmt.Sprintf("ip-10-0-%d-%d.eu-west-1.compute.internal", i/10/256, i/10%256)),
		Zone:       new(fmt.Sprintf("eu-west-1%c", 'a'+i/10%3)),
		TargetRef: &corev1.ObjectReference{
			Kind: "Pod", Namespace: namespace, Name: fmt.Sprintf("%s-7d9f8b6c5d-%05x", service, random.IntN(1<<20)),
			UID: types.UID(fmt.Sprintf("%08x-%04x-4%03x-9%03x-%012x",
				random.Uint32(), random.IntN(1<<16), random.IntN(1<<12), random.IntN(1<<12), random.Int64N(1<<48))),
		},
	}
}

// pod is an echo server on the loopback, of which each has an address of its own and
// all have the same port, as pods do.
type pod struct {
	name    string
	ip      string
	port    int
	signals chan os.Signal
	ended   chan struct{}
}

var lastPod atomic.Int32 // numbers pods; the loopback has 65,000 of these addresses

// pods starts servers that need this long to drain. All of a test's have its port.
type pods struct {
	t     *testing.T
	port  int
	drain time.Duration
}

func newPods(t *testing.T, drain time.Duration) *pods {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs all of 127.0.0.0/8, which Linux has")
	}
	return &pods{t: t, drain: drain}
}

func (p *pods) start() *pod {
	p.t.Helper()
	n := lastPod.Add(1)
	one := &pod{
		name: fmt.Sprintf("echo-server-%d", n), ip: fmt.Sprintf("127.1.%d.%d", n>>8, n&255),
		signals: make(chan os.Signal, 2), ended: make(chan struct{}),
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(one.ip, strconv.Itoa(p.port)))
	must(p.t, err)
	p.port = listener.Addr().(*net.TCPAddr).Port
	one.port = p.port
	server := echo.New(echo.Config{DrainDelay: p.drain, DrainTimeout: patience, KeepaliveMinTime: time.Second},
		echo.Identity{Pod: one.name, Node: "node-1"}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(one.ended)
		_ = server.Serve(ctx, listener, one.signals) // that it was stopped
	}()
	p.t.Cleanup(func() { cancel(); <-one.ended })
	return one
}

func (p *pods) startMany(n int) []*pod {
	p.t.Helper()
	var all []*pod
	for range n {
		all = append(all, p.start())
	}
	return all
}

// terminate does what the kubelet does; the pod drains and then ends.
func (p *pod) terminate() { p.signals <- syscall.SIGTERM }

// endpoint returns the pod's endpoint with these conditions.
func (p *pod) endpoint(c discoveryv1.EndpointConditions) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses: []string{p.ip}, Conditions: c,
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: p.name, UID: types.UID("u-" + p.name)},
	}
}

// sliceOf returns one slice with the pods, all ready.
func sliceOf(all ...*pod) *discoveryv1.EndpointSlice {
	es := newSlice(service, service+"-abcde", all[0].port)
	for _, p := range all {
		es.Endpoints = append(es.Endpoints, p.endpoint(ready))
	}
	return es
}

func newClient(t *testing.T, cfg *rest.Config) *k8sresolver.Client {
	t.Helper()
	client, err := k8sresolver.NewClient(cfg)
	must(t, err)
	t.Cleanup(client.Close)
	return client
}

func quiet() k8sresolver.Option { return k8sresolver.WithLogger(slog.New(slog.DiscardHandler)) }

// dialOptions are those of a program as the resolver's README has it, without retries.
func dialOptions(opts ...grpc.DialOption) []grpc.DialOption {
	return append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(roundRobin),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(),
	}, opts...)
}

func dial(t *testing.T, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(echoTarget, dialOptions(opts...)...)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// call makes one call and returns the name of the pod that answered.
func call(ctx context.Context, conn *grpc.ClientConn) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := echopb.NewEchoServiceClient(conn).Echo(ctx, &echopb.EchoRequest{})
	return answer.GetPod(), err
}
