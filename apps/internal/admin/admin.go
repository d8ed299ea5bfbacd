package admin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"google.golang.org/grpc"
	grpcadmin "google.golang.org/grpc/admin"
	"google.golang.org/grpc/reflection"
)

// Check tells whether addr, "host:port", can serve as an admin address. The
// host must be a loopback IP address or "localhost", because channelz shows
// every peer's address and the port has no authentication. Port 0 picks a
// free one.
func Check(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("admin address %q: expected host:port, such as 127.0.0.1:9090", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("admin address %q: expected a port from 0 to 65535, got %q", addr, port)
	}
	ip, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return fmt.Errorf("admin address %q: expected a loopback host, such as 127.0.0.1, got %q", addr, host)
	}
	return nil
}

// Server is a running admin server. Its creator must Close it.
type Server struct {
	grpc   *grpc.Server
	lis    net.Listener
	clean  func()        // frees what grpcadmin.Register allocated
	served chan struct{} // closed when the serving goroutine has ended
}

// Start listens on addr, which must satisfy Check, and serves channelz,
// reflection and the services that register adds.
func Start(addr string, register ...func(grpc.ServiceRegistrar)) (*Server, error) {
	if err := Check(addr); err != nil {
		return nil, err
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening on admin address %q: %w", addr, err)
	}
	// "localhost" is what the machine's resolver says it is.
	if tcp, ok := lis.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return nil, errors.Join(
			fmt.Errorf("admin address %q: it resolves to %v, which is not a loopback address", addr, lis.Addr()),
			lis.Close())
	}
	s := &Server{grpc: grpc.NewServer(), lis: lis, served: make(chan struct{})}
	if s.clean, err = grpcadmin.Register(s.grpc); err != nil {
		return nil, errors.Join(fmt.Errorf("registering gRPC's admin services: %w", err), lis.Close())
	}
	for _, add := range register {
		add(s.grpc)
	}
	reflection.Register(s.grpc)
	go func() {
		defer close(s.served)
		// Serve fails only when the listener breaks. The process lives on
		// without its admin port; a caller of that port sees the refusal.
		_ = s.grpc.Serve(lis)
	}()
	return s, nil
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.lis.Addr() }

// Close cuts every connection and waits until the serving goroutine has ended.
func (s *Server) Close() {
	s.grpc.Stop()
	<-s.served
	s.clean()
}
