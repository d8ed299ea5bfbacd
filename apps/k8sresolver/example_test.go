package k8sresolver_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// A channel to the port named grpc of the Service echo-server in the namespace shop.
// In a pod, NewInClusterClient takes the place of NewClient and its configuration.
func Example() {
	kubeconfig, stop := exampleCluster()
	defer stop()

	client, err := k8sresolver.NewClient(kubeconfig)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	conn, err := grpc.NewClient("k8s:///echo-server.shop:grpc",
		grpc.WithResolvers(k8sresolver.NewBuilder(client)),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithNoProxy(), // a proxy of the environment does not reach pods
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()

	answer, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{})
	fmt.Println(answer.GetStatus(), err)
	// Output: SERVING <nil>
}

// In the place of round_robin, a balancer of your own can ask which pod an endpoint
// is, for example to prefer a zone.
func ExampleInfoFrom() {
	client, stop := exampleClient()
	defer stop()

	cc := newSink()
	r, err := k8sresolver.NewBuilder(client).Build(target("k8s:///echo-server.shop"), cc, resolver.BuildOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	for _, endpoint := range (<-cc.updated).Endpoints {
		if info, ok := k8sresolver.InfoFrom(endpoint); ok {
			fmt.Println(info)
		}
	}
	// Output: pod=p1 node=node-1 zone=zone-a terminating=false
}

// Targets without a namespace mean shop here. Clients in zone-a call pods that are
// hinted for it. A Service that loses all its endpoints keeps them for ten seconds.
func ExampleNewBuilder() {
	client, stop := exampleClient()
	defer stop()

	builder := k8sresolver.NewBuilder(client,
		k8sresolver.WithNamespace("shop"),
		k8sresolver.WithZone("zone-a"),
		k8sresolver.WithEmptyHold(10*time.Second),
		k8sresolver.WithLogger(slog.New(slog.DiscardHandler)),
	)
	fmt.Println(builder.Scheme())
	// Output: k8s
}

// exampleClient returns a client of the example's cluster.
func exampleClient() (client *k8sresolver.Client, stop func()) {
	kubeconfig, stopCluster := exampleCluster()
	client, err := k8sresolver.NewClient(kubeconfig)
	if err != nil {
		panic(err)
	}
	return client, func() { client.Close(); stopCluster() }
}
