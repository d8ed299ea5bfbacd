package echo

import (
	"fmt"
	"net"
	"strconv"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// serveHealth serves the server's health, and nothing else, on a port of its own without
// TLS until stop is called. A drain shows there too.
func (s *Server) serveHealth(port int) (stop func(), err error) {
	lis, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listening on health port %d: %w; choose another --health-port", port, err)
	}
	server := grpc.NewServer(grpc.ConnectionTimeout(handshakeTimeout))
	healthpb.RegisterHealthServer(server, s.health)
	served := make(chan struct{})
	go func() {
		defer close(served)
		// Serve fails only when the listener breaks. Then probes fail, and the kubelet
		// starts the container again.
		_ = server.Serve(lis)
	}()
	return func() { server.Stop(); <-served }, nil
}
