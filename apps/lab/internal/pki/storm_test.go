//go:build unix

package pki_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/pki"
)

// stormClients are as many as lose their connections at once.
const stormClients = 100

// BenchmarkHandshakeStorm cuts the connections of 100 clients at once, and waits until each
// has been answered on a new one. It reports what one such connection takes: bytes on the
// wire in both directions, and CPU time of client and server together; both hold a call. The
// row without TLS says how much of that is not TLS.
//
//	go test ./apps/lab/internal/pki -run '^$' -bench HandshakeStorm -benchtime 20x
func BenchmarkHandshakeStorm(b *testing.B) {
	for _, how := range []struct {
		name           string
		server, client []string // flags
	}{
		{name: "plaintext"},
		{name: "TLS", server: []string{"cert", "key"}, client: []string{"ca"}},
		{name: "mTLS", server: []string{"cert", "key", "client-ca"}, client: []string{"ca", "cert", "key"}},
	} {
		b.Run(how.name, func(b *testing.B) {
			server, client := credentialsOf(b, how.server, how.client)
			s := newStorm(b, server, client)
			s.callAll(b) // so that every client has a connection that can be cut
			s.bytes.Store(0)
			cpu, connections := cpuTime(b), s.accepted.Load()
			for b.Loop() {
				s.cut()
				s.callAll(b)
			}
			made := float64(s.accepted.Load() - connections)
			b.ReportMetric(float64(s.bytes.Load())/made, "B/connection")
			b.ReportMetric((cpuTime(b)-cpu).Seconds()*1000/made, "cpu-ms/connection")
			b.ReportMetric(made/float64(b.N), "connections/op")
		})
	}
}

// credentialsOf returns those that the programs make of such flags, with a certificate for
// both sides.
func credentialsOf(b *testing.B, server, client []string) (servers, clients credentials.TransportCredentials) {
	b.Helper()
	authority, err := pki.NewAuthority("storm")
	if err != nil {
		b.Fatal(err)
	}
	issued, err := authority.Issue(pki.Valid(), "echo-server")
	if err != nil {
		b.Fatal(err)
	}
	files, err := issued.Files(authority)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	for name, content := range map[string][]byte{pki.CertFile: files.Cert, pki.KeyFile: files.Key, pki.RootsFile: files.Roots} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	named := map[string]string{"cert": pki.CertFile, "key": pki.KeyFile, "ca": pki.RootsFile, "client-ca": pki.RootsFile}
	follow := func(flags []string, side interface {
		AddFlags(*pflag.FlagSet)
		Credentials(*slog.Logger) (credentials.TransportCredentials, func(), error)
	}) credentials.TransportCredentials {
		if len(flags) == 0 {
			return insecure.NewCredentials()
		}
		fs := pflag.NewFlagSet("storm", pflag.ContinueOnError)
		side.AddFlags(fs)
		for _, flag := range flags {
			if err := fs.Set("tls-"+flag, filepath.Join(dir, named[flag])); err != nil {
				b.Fatal(err)
			}
		}
		c, closeFiles, err := side.Credentials(slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(closeFiles)
		return c
	}
	return follow(server, new(tlsfiles.Server)), follow(client, new(tlsfiles.Client))
}

// storm is a server and the clients that it loses.
type storm struct {
	net.Listener
	clients  []healthpb.HealthClient
	bytes    atomic.Int64
	accepted atomic.Int64

	mu   sync.Mutex // guards open
	open []net.Conn
}

func newStorm(b *testing.B, server, client credentials.TransportCredentials) *storm {
	b.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it lives as long as the benchmark
	if err != nil {
		b.Fatal(err)
	}
	s := &storm{Listener: lis}
	g := grpc.NewServer(grpc.Creds(server))
	healthpb.RegisterHealthServer(g, health.NewServer())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = g.Serve(s) // it ends with Stop
	}()
	b.Cleanup(func() {
		g.Stop()
		<-served
	})
	for range stormClients {
		conn, err := grpc.NewClient("passthrough:///"+lis.Addr().String(), grpc.WithTransportCredentials(client), grpc.WithAuthority("echo-server"))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		s.clients = append(s.clients, healthpb.NewHealthClient(conn))
	}
	return s
}

// Accept counts the bytes of the connections that the server takes.
func (s *storm) Accept() (net.Conn, error) {
	raw, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s.accepted.Add(1)
	conn := &countedConn{Conn: raw, bytes: &s.bytes}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, conn)
	return conn, nil
}

// cut ends all connections as a server that crashes does.
func (s *storm) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		_ = c.Close() // the server may have closed it already
	}
	s.open = nil
}

// callAll returns when every client has been answered.
func (s *storm) callAll(b *testing.B) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	var group sync.WaitGroup
	for _, c := range s.clients {
		group.Go(func() {
			_, err := c.Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
			for status.Code(err) == codes.Unavailable { // it was sent before the client saw the cut
				_, err = c.Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
			}
			if err != nil {
				b.Error(err)
			}
		})
	}
	group.Wait()
}

type countedConn struct {
	net.Conn
	bytes *atomic.Int64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// cpuTime is what the process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
