package main_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles"
	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles/tlstest"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

const service = "com.example.grpc.EchoService"

// What base/components/tls sets by variables: calls need a certificate, health is told on
// a port of its own without TLS as well as with TLS on the port for calls, and a drain
// shows on both.
func TestTLS(t *testing.T) {
	ca := tlstest.NewCA(t, "ca")
	secret := tlstest.Mount(t, ca.Issue(t, nil, "echo-server"), ca.PEM)
	healthPort := freePort(t)
	t.Setenv("TLS_CERT", secret.Path("tls.crt"))
	t.Setenv("TLS_KEY", secret.Path("tls.key"))
	t.Setenv("TLS_CLIENT_CA", secret.Path("ca.crt"))
	t.Setenv("HEALTH_PORT", healthPort)
	p, first := start(t, "--drain-delay=2s")
	if first["tls"] != true {
		t.Errorf("start line %v, want tls: true", first)
	}
	_, port, _ := net.SplitHostPort(first["address"].(string))
	creds := clientCredentials(t, "--tls-ca="+secret.Path("ca.crt"), "--tls-cert="+secret.Path("tls.crt"), "--tls-key="+secret.Path("tls.key"), "--tls-server-name=echo-server")
	calls, probes := connect(t, port, creds), connect(t, healthPort, insecure.NewCredentials())

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := echopb.NewEchoServiceClient(calls).Echo(ctx, &echopb.EchoRequest{}); err != nil {
		t.Errorf("call with a certificate: %v", err)
	}
	if _, err := echopb.NewEchoServiceClient(probes).Echo(ctx, &echopb.EchoRequest{}); err == nil {
		t.Error("the health port answers calls")
	}
	told := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for name, conn := range map[string]*grpc.ClientConn{"the port for calls": calls, "the health port": probes} {
			for _, of := range []string{"", service} {
				got, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: of})
				if err != nil || got.GetStatus() != want {
					t.Errorf("%s tells of %q: %v, %v, want %v", name, of, got, err, want)
				}
			}
		}
	}
	told(healthpb.HealthCheckResponse_SERVING)
	p.signal(syscall.SIGTERM)
	p.until("draining")
	told(healthpb.HealthCheckResponse_NOT_SERVING)
	if code := p.exitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// Wrong variables and bad files end the program with one line on stderr.
func TestTLS_Refusals(t *testing.T) {
	ca := tlstest.NewCA(t, "ca")
	secret := tlstest.Mount(t, tlstest.Pair{Cert: ca.Issue(t, nil).Cert, Key: ca.Issue(t, nil).Key}, ca.PEM)
	taken, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, takenPort, _ := net.SplitHostPort(taken.Addr().String())
	for _, tc := range []struct {
		name, env, args string
		code            int
		want            string
	}{
		{"health_port_no_number", "HEALTH_PORT=http", "", 2, `HEALTH_PORT="http": invalid argument "http" for "--health-port" flag`},
		{"health_port_too_large", "HEALTH_PORT=65536", "", 2, "--health-port (HEALTH_PORT) 65536: expected 0 to 65535"},
		{"health_port_of_calls", "HEALTH_PORT=8080", "", 2, "--health-port (HEALTH_PORT) 8080: expected 0 to 65535, and not --port"},
		{"health_port_taken", "HEALTH_PORT=" + takenPort, "--port=0 --admin=", 1, "address already in use; choose another --health-port"},
		{"certificate_alone", "TLS_CERT=/tls/tls.crt", "", 2, `--tls-cert (TLS_CERT) "/tls/tls.crt" without --tls-key`},
		{"file_missing", "TLS_CERT=/no/tls.crt", "--port=0 --tls-key=/no/tls.key", 1, "open /no/tls.crt: no such file or directory; is the Secret there, and mounted?"},
		{"swapped_key", "TLS_CERT=" + secret.Path("tls.crt"), "--port=0 --tls-key=" + secret.Path("tls.key"), 1, "private key does not match public key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			name, value, _ := strings.Cut(tc.env, "=")
			t.Setenv(name, value)
			code, stdout, stderr := runToEnd(t, strings.Fields(tc.args)...)
			if code != tc.code || stdout != "" {
				t.Errorf("exit code %d and stdout %q, want %d and nothing", code, stdout, tc.code)
			}
			if !strings.Contains(stderr, tc.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("stderr %q, want one line that contains %q", stderr, tc.want)
			}
		})
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(lis.Addr().String())
	_ = lis.Close()
	return port
}

func connect(t *testing.T, port string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///127.0.0.1:"+port, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func clientCredentials(t *testing.T, args ...string) credentials.TransportCredentials {
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
