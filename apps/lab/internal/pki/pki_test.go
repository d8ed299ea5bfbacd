package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/pki"
)

func authority(t *testing.T, name string) *pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *pki.Authority, v pki.Validity, names ...string) *pki.Certificate {
	t.Helper()
	c, err := a.Issue(v, names...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pool(t *testing.T, all ...*pki.Authority) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	for _, a := range all {
		if !roots.AppendCertsFromPEM(a.PEM()) {
			t.Fatal("the authority's PEM holds no certificate")
		}
	}
	return roots
}

// Server and client with certificates of one authority verify each other; a name that the
// certificate has not, another authority and a certificate of tomorrow are refused, each
// with its reason.
func TestHandshake(t *testing.T) {
	ours, other := authority(t, "ours"), authority(t, "other")
	now, tomorrow := pki.Valid(), pki.Validity{From: time.Now().Add(24 * time.Hour), To: time.Now().Add(48 * time.Hour)}
	for _, test := range []struct {
		name   string
		server *pki.Certificate
		trusts *pki.Authority
		dialed string
		want   func(error) bool // nil wants no error
	}{
		{name: "verified", server: issue(t, ours, now, "a", "b.c"), trusts: ours, dialed: "b.c"},
		{name: "another_name", server: issue(t, ours, now, "a"), trusts: ours, dialed: "b", want: is[x509.HostnameError]},
		{name: "another_authority", server: issue(t, ours, now, "a"), trusts: other, dialed: "a", want: is[x509.UnknownAuthorityError]},
		{name: "not_yet_valid", server: issue(t, ours, tomorrow, "a"), trusts: ours, dialed: "a", want: is[x509.CertificateInvalidError]},
	} {
		t.Run(test.name, func(t *testing.T) {
			here, there := connected(t)
			server := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{test.server.TLS()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool(t, ours), MinVersion: tls.VersionTLS13})
			served := make(chan struct{})
			go func() {
				defer close(served)
				defer there.Close()
				_, _ = server.Write([]byte("x")) // the client says what it thinks of the handshake
			}()
			presented := issue(t, ours, now)
			client := tls.Client(here, &tls.Config{Certificates: []tls.Certificate{presented.TLS()}, RootCAs: pool(t, test.trusts), ServerName: test.dialed, MinVersion: tls.VersionTLS13})
			err := client.Handshake()
			if err == nil {
				_, err = client.Read(make([]byte, 1)) // the server's verdict on the client
			}
			here.Close()
			<-served
			if test.want == nil && err != nil || test.want != nil && !test.want(err) {
				t.Errorf("error %v", err)
			}
			if err == nil && pki.Serial(client.ConnectionState().PeerCertificates[0]) != test.server.Serial() {
				t.Error("another certificate was presented")
			}
		})
	}
}

// connected returns both ends of a connection.
func connected(t *testing.T) (here, there net.Conn) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed below
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := lis.Accept()
		accepted <- conn
	}()
	if here, err = net.Dial("tcp", lis.Addr().String()); err != nil { //nolint:noctx // to the loopback
		t.Fatal(err)
	}
	return here, <-accepted
}

// is tells whether an error is of the type.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// What a Secret holds is read by who reads PEM, and a key that is not the certificate's is
// refused.
func TestPEM(t *testing.T) {
	a := authority(t, "ours")
	one, two := issue(t, a, pki.Valid(), "a"), issue(t, a, pki.Valid(), "a")
	key, err := one.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(one.CertPEM(), key); err != nil {
		t.Error(err)
	}
	if _, err := tls.X509KeyPair(two.CertPEM(), key); err == nil {
		t.Error("the key of another certificate is accepted")
	}
	if one.Serial() == two.Serial() {
		t.Errorf("two certificates have the serial number %s", one.Serial())
	}
}
