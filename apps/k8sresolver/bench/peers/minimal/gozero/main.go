// Command gozero is the least client of go-zero's resolver, which reads a pod's files.
package main

import (
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/zrpc/resolver"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/endurance/minimal"
)

func main() {
	target, _, _ := minimal.Arguments()
	logx.Disable() // it logs to the standard output
	resolver.Register()
	minimal.Call(target)
}
