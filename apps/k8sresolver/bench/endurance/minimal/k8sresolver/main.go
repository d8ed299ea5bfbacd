// Command k8sresolver is the least client of package k8sresolver.
package main

import (
	"google.golang.org/grpc"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/endurance/minimal"
)

func main() {
	target, url, ca := minimal.Arguments()
	client, err := k8sresolver.NewClient(&rest.Config{Host: url, TLSClientConfig: rest.TLSClientConfig{CAFile: ca}})
	minimal.Must(err)
	minimal.Call(target, grpc.WithResolvers(k8sresolver.NewBuilder(client)))
}
