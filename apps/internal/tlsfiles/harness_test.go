package tlsfiles_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles"
	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles/tlstest"
)

func TestMain(m *testing.M) {
	if os.Getenv(asLogger) != "" {
		logMismatch()
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	// often is the time between two looks at the files.
	often    = 5 * time.Millisecond
	patience = 20 * time.Second
)

// serverOf and clientOf read the flags that a program would be started with.
func serverOf(t *testing.T, args ...string) *tlsfiles.Server {
	t.Helper()
	s := new(tlsfiles.Server)
	fs := pflag.NewFlagSet("server", pflag.ContinueOnError)
	s.AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return s
}

func clientOf(t *testing.T, args ...string) *tlsfiles.Client {
	t.Helper()
	c := new(tlsfiles.Client)
	fs := pflag.NewFlagSet("client", pflag.ContinueOnError)
	c.AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c
}

// mutual are the flags of a side with mTLS.
func mutual(s *tlstest.Secret, ca string) []string {
	return []string{"--tls-cert=" + s.Path("tls.crt"), "--tls-key=" + s.Path("tls.key"), "--" + ca + "=" + s.Path("ca.crt")}
}

// syncedLog is a log that may be read while it is written.
type syncedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *syncedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *syncedLog) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

func (l *syncedLog) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// serve serves gRPC health on loopback with mTLS by a Secret.
func serve(t *testing.T, secret *tlstest.Secret, log *syncedLog) (addr string, creds *tlsfiles.Followed) {
	t.Helper()
	creds, err := serverOf(t, mutual(secret, "tls-client-ca")...).Follow(often, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	addr, stop := serveWith(t, creds)
	t.Cleanup(func() { stop(); creds.Close() })
	return addr, creds
}

func serveWith(t *testing.T, creds credentials.TransportCredentials) (addr string, stop func()) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(creds))
	healthpb.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(lis) }()
	return lis.Addr().String(), func() { server.Stop(); <-done }
}

// credentialsOf returns a client's credentials that follow the files for the time of the test.
func credentialsOf(t *testing.T, args ...string) *tlsfiles.Followed {
	t.Helper()
	creds, err := clientOf(t, args...).Follow(often, new(syncedLog).logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(creds.Close)
	return creds
}

// call makes a call on a new connection and returns the serial number of the server's
// certificate.
func call(creds credentials.TransportCredentials, addr string) (serial string, err error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	return callOn(conn)
}

func callOn(conn *grpc.ClientConn) (serial string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var from peer.Peer
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&from)); err != nil {
		return "", err
	}
	if info, ok := from.AuthInfo.(credentials.TLSInfo); ok {
		return info.State.PeerCertificates[0].SerialNumber.Text(16), nil
	}
	return "", nil
}

// until calls on new connections until the server shows the certificate.
func until(t *testing.T, creds credentials.TransportCredentials, addr, serial string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for calls := 1; ; calls++ {
		got, err := call(creds, addr)
		switch {
		case err != nil:
			t.Fatalf("call %d: %v", calls, err)
		case got == serial:
			return
		case time.Now().After(deadline):
			t.Fatalf("after %d calls the server shows the certificate %s, want %s", calls, got, serial)
		}
	}
}
