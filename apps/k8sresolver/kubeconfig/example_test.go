package kubeconfig_test

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/kubeconfig"
)

// A channel from a workstation, with the current context of ~/.kube/config and its
// namespace. The pods' addresses must be reachable from there.
func Example() {
	client, namespace, err := kubeconfig.NewClient("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	conn, err := grpc.NewClient("k8s:///echo-server:grpc",
		grpc.WithResolvers(k8sresolver.NewBuilder(client, k8sresolver.WithDefaultNamespace(namespace))),
		grpc.WithNoProxy(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()
}
