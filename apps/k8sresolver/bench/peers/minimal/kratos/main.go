// Command kratos is the least client of Kratos's registry and resolver.
package main

import (
	kuberegistry "github.com/go-kratos/kratos/contrib/registry/kubernetes/v2"
	"github.com/go-kratos/kratos/v2/transport/grpc/resolver/discovery"
	"google.golang.org/grpc"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/endurance/minimal"
)

func main() {
	target, url, ca := minimal.Arguments()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: url, TLSClientConfig: rest.TLSClientConfig{CAFile: ca}})
	minimal.Must(err)
	registry := kuberegistry.NewRegistry(client, "")
	go registry.Start()
	minimal.Call(target, grpc.WithResolvers(discovery.NewBuilder(registry, discovery.WithInsecure(true), discovery.WithSubset(0))))
}
