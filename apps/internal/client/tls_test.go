package client_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/client"
	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles/tlstest"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// serveMutual returns the address of an EchoService that demands certificates of the CA.
func serveMutual(t *testing.T, ca *tlstest.CA, pair tlstest.Pair) string {
	t.Helper()
	return tlstest.ServeMutual(t, ca, pair, func(r grpc.ServiceRegistrar) { echopb.RegisterEchoServiceServer(r, server{}) })
}

// With the variables of base/components/tls the log tells that each connection's server was
// verified, and by which certificate; a CA that did not sign it fails the calls within a
// second, with the reason.
func TestTLS(t *testing.T) {
	ca, other := tlstest.NewCA(t, "ca"), tlstest.NewCA(t, "other ca")
	pair := ca.Issue(t, nil, "echo-server")
	addr := serveMutual(t, ca, pair)
	own := ca.Issue(t, nil, "client")
	secret, foreign := tlstest.Mount(t, own, ca.PEM), tlstest.Mount(t, own, other.PEM)
	t.Setenv("TLS_CERT", secret.Path("tls.crt"))
	t.Setenv("TLS_KEY", secret.Path("tls.key"))
	t.Setenv("TLS_CA", secret.Path("ca.crt"))
	t.Setenv("TLS_SERVER_NAME", "echo-server")

	lines := func(want int, args string) (peers []*calllog.Peer, summary *calllog.Summary, failures string) {
		t.Helper()
		stdout, stderr := newOutput(), newOutput() // the log comes from several goroutines
		args = "--target passthrough:///" + addr + " --admin= --output json " + args
		if code := program.Run(strings.Fields(args), nil, stdout, stderr); code != want {
			t.Fatalf("exit code %d, want %d; stderr %q", code, want, stderr)
		}
		for line, err := range calllog.Read(strings.NewReader(stdout.String())) {
			if err != nil {
				t.Fatal(err)
			}
			switch l := line.(type) {
			case *calllog.Peer:
				peers = append(peers, l)
			case *calllog.Failure:
				failures += l.Error
			case *calllog.Summary:
				summary = l
			}
		}
		return peers, summary, failures
	}
	peers, summary, _ := lines(client.ExitOK, "--fresh-connections 20")
	if len(peers) != 1 || peers[0].Serial != pair.Serial || peers[0].ServerName != "echo-server" || peers[0].TLS != "TLS 1.3" || peers[0].Address != addr {
		t.Errorf("the log tells of the certificates %+v, want that of the server once", peers)
	}
	if summary.Opened != 20 || summary.Verified != 20 || len(summary.Failures) > 0 {
		t.Errorf("of %d connections %d were verified, failures %v, want 20 of 20 and none", summary.Opened, summary.Verified, summary.Failures)
	}

	began := time.Now()
	_, summary, failures := lines(client.ExitFailed, "--concurrency 1 --count 1 --tls-ca "+foreign.Path("ca.crt"))
	if took := time.Since(began); took > time.Second {
		t.Errorf("the wrong CA was told after %v, want 1 s at most", took)
	}
	if want := "x509: certificate signed by unknown authority"; !strings.Contains(failures, want) || summary.Verified != 0 {
		t.Errorf("failures %q and %d verified connections, want %q and none", failures, summary.Verified, want)
	}
}

// Flags without their other half end the program before any call, files that are missing
// when it begins to call.
func TestTLS_Refusals(t *testing.T) {
	for _, tc := range []struct {
		name, env, args string
		code            int
		want            string
	}{
		{"certificate_without_ca", "TLS_CERT=/tls/tls.crt", "--tls-key=/tls/tls.key", client.ExitUsage, `--tls-cert (TLS_CERT) "/tls/tls.crt" without --tls-ca`},
		{"certificate_without_key", "TLS_CERT=/tls/tls.crt", "--tls-ca=/tls/ca.crt", client.ExitUsage, `--tls-cert (TLS_CERT) "/tls/tls.crt" without --tls-key`},
		{"file_missing", "TLS_CA=/no/ca.crt", "", client.ExitFailed, `--tls-ca (TLS_CA) "/no/ca.crt": expected the certificate of a CA in PEM: open /no/ca.crt: no such file or directory`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			name, value, _ := strings.Cut(tc.env, "=")
			t.Setenv(name, value)
			var stdout, stderr strings.Builder
			code := program.Run(strings.Fields("--target passthrough:///127.0.0.1:1 --admin= --count 1 "+tc.args), nil, &stdout, &stderr)
			if code != tc.code || !strings.Contains(stderr.String(), tc.want) {
				t.Errorf("exit code %d, stderr %q, want %d and %q", code, &stderr, tc.code, tc.want)
			}
		})
	}
}
