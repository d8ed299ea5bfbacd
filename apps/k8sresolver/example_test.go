package k8sresolver_test

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

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
