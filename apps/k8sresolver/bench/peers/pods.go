package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Conditions of an endpoint.
var (
	ready    = discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)}
	starting = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false), Terminating: new(false)}
	draining = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
)

// pods are gRPC servers on the loopback. Each has an address of its own, from 127.0.0.1
// on, of which Linux has many, and all have one port, as pods do.
type pods struct {
	port    int
	started int
	all     []*pod // oldest first
}

type pod struct {
	address    string
	conditions discoveryv1.EndpointConditions
	server     *grpc.Server
	called     chan struct{} // closed at the first call
}

// start starts n pods that are ready.
func (p *pods) start(n int) error {
	for range n {
		p.started++
		one := &pod{address: fmt.Sprintf("127.0.0.%d", p.started), conditions: ready, called: make(chan struct{})}
		listener, err := net.Listen("tcp", net.JoinHostPort(one.address, strconv.Itoa(p.port)))
		if err != nil {
			return err
		}
		p.port = listener.Addr().(*net.TCPAddr).Port
		first := sync.OnceFunc(func() { close(one.called) })
		one.server = grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			first()
			return next(ctx, req)
		}))
		healthpb.RegisterHealthServer(one.server, health.NewServer())
		go func() { _ = one.server.Serve(listener) }()
		p.all = append(p.all, one)
	}
	return nil
}

func (p *pods) stop() {
	for _, one := range p.all {
		one.server.Stop()
	}
}

func (p *pods) slice() *discoveryv1.EndpointSlice {
	var at []string
	for _, one := range p.all {
		at = append(at, one.address)
	}
	es := slice("pods", int32(p.port), at...)
	for i, one := range p.all {
		es.Endpoints[i].Conditions = one.conditions
	}
	return es
}
