// Command kuberesolver is the least client of kuberesolver, which reads a pod's files.
package main

import (
	"github.com/sercand/kuberesolver/v6"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/endurance/minimal"
)

func main() {
	target, _, _ := minimal.Arguments()
	kuberesolver.RegisterInCluster()
	minimal.Call(target)
}
