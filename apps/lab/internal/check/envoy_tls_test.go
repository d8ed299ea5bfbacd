package check_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles"
	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles/tlstest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

// Envoy as the component configures it verifies clients and servers, and shows a new
// certificate to both without a restart: no call fails meanwhile. A client without a
// certificate is refused.
func TestTLS_EnvoyRotates(t *testing.T) {
	program := envoy(t)
	ca := tlstest.NewCA(t, "ca")
	pair := ca.Issue(t, nil, "echo-server", "envoy")
	secret := tlstest.Mount(t, pair, ca.PEM)
	server, client := tlsServer(t, secret)
	at := runEnvoy(t, program, secret, server)
	creds := tlsClient(t, "--tls-ca="+secret.Path("ca.crt"), "--tls-cert="+secret.Path("tls.crt"), "--tls-key="+secret.Path("tls.key"), "--tls-server-name=envoy")

	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := callTLS(t, creds, at)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	next := ca.Issue(t, nil, "echo-server", "envoy")
	secret.Update(t, next, ca.PEM)
	for {
		serial, err := callTLS(t, creds, at)
		if err != nil {
			t.Fatalf("call during the rotation: %v", err)
		}
		if serial == next.Serial {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("Envoy shows the certificate %s, want %s", serial, next.Serial)
		}
	}
	if got := client.Load(); got != pair.Serial {
		t.Errorf("the server has seen the certificate %v of Envoy, want %s", got, pair.Serial)
	}
	if _, err := callTLS(t, tlsClient(t, "--tls-ca="+secret.Path("ca.crt"), "--tls-server-name=envoy"), at); err == nil {
		t.Error("a client without a certificate was admitted")
	}
}

// Envoy keeps its certificate while the Secret is broken, and shows the next whole one. But
// after broken authorities it shows no other certificate until it is restarted (Envoy 1.40):
// the overlay's page says so.
func TestTLS_EnvoyKeeps(t *testing.T) {
	program := envoy(t)
	ca := tlstest.NewCA(t, "ca")
	pair, other := ca.Issue(t, nil, "echo-server", "envoy"), ca.Issue(t, nil, "echo-server", "envoy")
	half := func(file []byte) []byte { return file[:len(file)/2] }
	for _, test := range []struct {
		name   string
		broken tlstest.Pair
		ca     []byte
		stuck  bool
	}{
		{"half of certificate and key", tlstest.Pair{Cert: half(pair.Cert), Key: half(pair.Key)}, ca.PEM, false},
		{"key of another", tlstest.Pair{Cert: pair.Cert, Key: other.Key}, ca.PEM, false},
		{"half of each file", tlstest.Pair{Cert: half(pair.Cert), Key: half(pair.Key)}, half(ca.PEM), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			secret := tlstest.Mount(t, pair, ca.PEM)
			server, _ := tlsServer(t, secret)
			at := runEnvoy(t, program, secret, server)
			creds := tlsClient(t, "--tls-ca="+secret.Path("ca.crt"), "--tls-cert="+secret.Path("tls.crt"), "--tls-key="+secret.Path("tls.key"), "--tls-server-name=envoy")
			shows := func(want string, limit time.Duration) (serial string, err error) {
				for deadline := time.Now().Add(limit); serial != want && time.Now().Before(deadline); {
					serial, err = callTLS(t, creds, at)
				}
				return serial, err
			}
			if serial, err := shows(pair.Serial, 30*time.Second); serial != pair.Serial {
				t.Fatalf("Envoy shows %q, %v; want %s", serial, err, pair.Serial)
			}
			secret.Update(t, test.broken, test.ca)
			for until := time.Now().Add(time.Second); time.Now().Before(until); {
				if serial, err := callTLS(t, creds, at); serial != pair.Serial {
					t.Fatalf("while the Secret is broken Envoy shows %q, %v; want %s", serial, err, pair.Serial)
				}
			}
			next := ca.Issue(t, nil, "echo-server", "envoy")
			secret.Update(t, next, ca.PEM)
			want, limit := next.Serial, 30*time.Second
			if test.stuck {
				want, limit = pair.Serial, 3*time.Second
				time.Sleep(limit)
			}
			if serial, err := shows(want, limit); serial != want {
				t.Errorf("after it is whole again Envoy shows %q, %v; want %s", serial, err, want)
			}
		})
	}
}

func tlsClient(t *testing.T, args ...string) credentials.TransportCredentials {
	t.Helper()
	var c tlsfiles.Client
	fs := pflag.NewFlagSet("client", pflag.ContinueOnError)
	c.AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	creds, closeFiles, err := c.Credentials(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeFiles)
	return creds
}

// tlsServer serves gRPC health with mTLS. It returns its port and the serial number of the
// certificate that its first caller showed.
func tlsServer(t *testing.T, secret *tlstest.Secret) (port string, client *atomic.Value) {
	t.Helper()
	var s tlsfiles.Server
	fs := pflag.NewFlagSet("server", pflag.ContinueOnError)
	s.AddFlags(fs)
	if err := fs.Parse([]string{"--tls-cert=" + secret.Path("tls.crt"), "--tls-key=" + secret.Path("tls.key"), "--tls-client-ca=" + secret.Path("ca.crt")}); err != nil {
		t.Fatal(err)
	}
	creds, closeFiles, err := s.Credentials(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client = new(atomic.Value)
	server := grpc.NewServer(grpc.Creds(creds), grpc.UnaryInterceptor(
		func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			from, _ := peer.FromContext(ctx)
			client.CompareAndSwap(nil, serialOf(from))
			return handle(ctx, request)
		}))
	healthy := health.NewServer()
	healthy.SetServingStatus("com.example.grpc.EchoService", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, healthy)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(lis) }()
	t.Cleanup(func() { server.Stop(); <-done; closeFiles() })
	_, port, _ = net.SplitHostPort(lis.Addr().String())
	return port, client
}

func serialOf(p *peer.Peer) string {
	return p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].SerialNumber.Text(16)
}

// callTLS makes a call on a new connection and returns the serial number of the
// certificate that it was shown.
func callTLS(t *testing.T, creds credentials.TransportCredentials, addr string) (serial string, err error) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var from peer.Peer
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&from)); err != nil {
		return "", err
	}
	return serialOf(&from), nil
}

// runEnvoy runs Envoy as the component renders it, with the Secret, before a server on
// this machine, and returns the address for calls.
func runEnvoy(t *testing.T, program string, secret *tlstest.Secret, serverPort string) (addr string) {
	t.Helper()
	_, objects := withTLS(t, "envoy")
	dir := t.TempDir()
	replace := []string{"/etc/envoy/", dir + "/", "/tls/", secret.Path("") + "/", "path: /tls}", "path: " + secret.Path("") + "}",
		"address: echo-server, port_value: 8080", "address: localhost, port_value: " + serverPort}
	for _, port := range []string{"8080", "8081", "9901"} {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, free, _ := net.SplitHostPort(lis.Addr().String())
		_ = lis.Close()
		replace = append(replace, "port_value: "+port, "port_value: "+free)
		if port == "8080" {
			addr = "127.0.0.1:" + free
		}
	}
	replace = append(replace, `"::", ipv4_compat: true`, "127.0.0.1")
	for name, content := range envoyFiles(t, objects) {
		manifesttest.Write(t, dir, name, strings.NewReplacer(replace...).Replace(content))
	}
	ctx, stop := context.WithCancel(t.Context())
	command, log := exec.CommandContext(ctx, program, "--config-path", filepath.Join(dir, "envoy.yaml"), "--disable-hot-restart", "--log-level", "warning"), &bytes.Buffer{}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := command.Wait(); t.Failed() {
			t.Logf("envoy: %v\n%s", err, log)
		}
	})
	return addr
}
