package strategy_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/pki"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

func authorityOf(t *testing.T, name string) *pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func certificateOf(t *testing.T, a *pki.Authority, v pki.Validity, names ...string) *pki.Certificate {
	t.Helper()
	c, err := a.Issue(v, names...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serverWith runs a gRPC server with those credentials and returns its address.
func serverWith(t *testing.T, c credentials.TransportCredentials) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's listener lives as long as the test
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(c))
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(lis) // it ends with Stop
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return lis.Addr().String()
}

// A gRPC server is looked at as a client would: one that demands a certificate passes, and
// each way of demanding less, or of proving less, is told. The reason of a refusal is the one
// that the server or crypto/x509 gives.
func TestLookAtServer(t *testing.T) {
	ours, other := authorityOf(t, "ours"), authorityOf(t, "other")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ours.PEM())
	own := certificateOf(t, ours, pki.Valid())
	early := pki.Valid()
	early.From = time.Now().Add(time.Hour)
	mutual := func(c *pki.Certificate, change func(*tls.Config)) credentials.TransportCredentials {
		config := &tls.Config{Certificates: []tls.Certificate{c.TLS()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots, MinVersion: tls.VersionTLS13}
		change(config)
		return credentials.NewTLS(config)
	}
	as := func(*tls.Config) {}
	named := certificateOf(t, ours, pki.Valid(), "echo-server")
	for _, test := range []struct {
		name   string
		server credentials.TransportCredentials
		own    *pki.Certificate
		at     time.Time
		wrong  string // a part of what is wrong, "" for nothing
	}{
		{name: "mutual", server: mutual(named, as), own: own},
		{name: "plaintext", server: insecure.NewCredentials(), own: own, wrong: "a connection with a certificate failed"},
		{name: "any_client", server: mutual(named, func(c *tls.Config) { c.ClientAuth = tls.NoClientCert }), own: own, wrong: "it accepts a connection without a certificate"},
		{name: "optional_client", server: mutual(named, func(c *tls.Config) { c.ClientAuth = tls.VerifyClientCertIfGiven }), own: own, wrong: "it accepts a connection without a certificate"},
		{name: "old_version", server: mutual(named, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }), own: own, wrong: `it speaks TLS 1.2 and "h2", expected TLS 1.3 and h2`},
		{name: "another_authority", server: mutual(certificateOf(t, other, pki.Valid(), "echo-server"), as), own: own, wrong: "certificate signed by unknown authority"},
		{name: "another_name", server: mutual(certificateOf(t, ours, pki.Valid(), "echo"), as), own: own, wrong: "certificate is valid for echo, not echo-server"},
		{name: "not_yet_valid", server: mutual(certificateOf(t, ours, early, "echo-server"), as), own: own, wrong: "certificate has expired or is not yet valid"},
		{name: "valid_in_an_hour", server: mutual(certificateOf(t, ours, early, "echo-server"), as), own: own, at: early.From.Add(time.Minute)},
		{name: "stranger", server: mutual(named, as), own: certificateOf(t, other, pki.Valid()), wrong: "a connection with a certificate failed: remote error: tls: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			looked, err := strategy.LookAt(t.Context(), serverWith(t, test.server), "echo-server", test.at, test.own, ours)
			if err != nil {
				t.Fatal(err)
			}
			wrong := looked.Wrong()
			if (wrong == "") != (test.wrong == "") || !strings.Contains(wrong, test.wrong) {
				t.Errorf("wrong is %q, want %q; looked at %+v", wrong, test.wrong, looked)
			}
			if test.wrong == "" && (len(looked.Asked) != 1 || string(looked.Asked[0]) != string(ours.Subject())) {
				t.Errorf("it asks for certificates of %q, want those of %q", looked.Asked, ours.Subject())
			}
		})
	}
}

// A port at which nobody listens is no server that refuses.
func TestLookAtNothing(t *testing.T) {
	ours := authorityOf(t, "ours")
	looked, err := strategy.LookAt(t.Context(), "127.0.0.1:1", "echo-server", time.Time{}, certificateOf(t, ours, pki.Valid()), ours)
	if err != nil || !strings.Contains(looked.Wrong(), "refused") {
		t.Errorf("looked at %+v, error %v: want that the connection was refused", looked, err)
	}
}
