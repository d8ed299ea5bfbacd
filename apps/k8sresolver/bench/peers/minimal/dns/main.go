// Command dns is the least client of gRPC's own resolver.
package main

import "github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/endurance/minimal"

func main() {
	target, _, _ := minimal.Arguments()
	minimal.Call(target)
}
