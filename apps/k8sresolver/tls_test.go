package k8sresolver_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// certificateAuthority signs certificates for the time of a test.
type certificateAuthority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *certificateAuthority {
	t.Helper()
	ca := &certificateAuthority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return ca
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns a certificate that is valid for an hour and has the authority of the
// tests' target as its name, as long as change, which may be nil, leaves it so.
func (ca *certificateAuthority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"echo-server.shop.svc"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (ca *certificateAuthority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// servePod serves gRPC health with the credentials as the pod p1. It returns the way to an
// API server that knows the pod, and the pod's address.
func servePod(t *testing.T, creds credentials.TransportCredentials) (api *rest.Config, address string) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(creds))
	healthpb.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(lis) }()
	t.Cleanup(func() { server.Stop(); <-done })
	at := netip.MustParseAddrPort(lis.Addr().String())
	s := newAPIServer()
	s.set(withPorts(newSlice("a", pod("p1", at.Addr().String(), ready)), port("grpc", int32(at.Port()))))
	return s.start(t), at.String()
}

// mistake is one way to get TLS wrong, and what the caller is told.
type mistake struct {
	name           string
	server, client credentials.TransportCredentials
}

// mistakes are those of the README, in its order.
func mistakes(t *testing.T) []mistake {
	t.Helper()
	ca, other := newAuthority(t), newAuthority(t)
	server := func(change func(*x509.Certificate)) credentials.TransportCredentials {
		return credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{ca.issue(t, change)}, MinVersion: tls.VersionTLS13})
	}
	mutual := func(clients *certificateAuthority) credentials.TransportCredentials {
		return credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{ca.issue(t, nil)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients.pool(), MinVersion: tls.VersionTLS13,
		})
	}
	client := credentials.NewTLS(&tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS13})
	own := ca.issue(t, nil)
	showing := credentials.NewTLS(&tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }})
	return []mistake{
		{"another_name", server(func(c *x509.Certificate) { c.DNSNames = []string{"echo-server"} }), client},
		{"ip_alone", server(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{net.IPv4(127, 0, 0, 1)} }), client},
		{"common_name_alone", server(func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, "echo-server.shop.svc" }), client},
		{"expired", server(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}), client},
		{"not_yet_valid", server(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		}), client},
		{"another_ca", server(nil), credentials.NewTLS(&tls.Config{RootCAs: other.pool(), MinVersion: tls.VersionTLS13})},
		{"spiffe_id_alone", server(func(c *x509.Certificate) {
			c.DNSNames, c.URIs = nil, []*url.URL{{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/shop/sa/echo-server"}}
		}), client},
		{"for_clients_alone", server(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), client},
		{"plaintext_server", insecure.NewCredentials(), client},
		{"plaintext_client", server(nil), insecure.NewCredentials()},
		{"no_client_certificate", mutual(ca), client},
		{"client_certificate_of_another_ca", mutual(other), showing},
	}
}

// text returns what the caller is told, within a second.
func (m mistake) text(t *testing.T) string {
	t.Helper()
	cfg, _ := servePod(t, m.server)
	conn := dial(t, cfg, grpc.WithTransportCredentials(m.client))
	for deadline := time.Now().Add(patience); ; {
		began := time.Now()
		_, err := call(t, conn)
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s: the call failed after %v, want 1 s at most", m.name, took)
		}
		text := status.Convert(err).Message()
		// The reset of a server's connection can overtake the alert that says why.
		if !strings.Contains(text, "connection reset by peer") && !strings.Contains(text, "broken pipe") || time.Now().After(deadline) {
			return text
		}
	}
}

// Tests that a channel verifies the Service's name, service.namespace.svc, and not the
// address that it dials; that another authority is verified instead; and that the caller
// can see the server's SPIFFE ID.
func TestTLS_Authority(t *testing.T) {
	ca := newAuthority(t)
	id := &url.URL{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/shop/sa/echo-server"}
	for _, tc := range []struct {
		name, cert string
		opts       []grpc.DialOption
	}{
		{name: "of_the_target", cert: "echo-server.shop.svc"},
		{name: "of_the_option", cert: "echo.example.com", opts: []grpc.DialOption{grpc.WithAuthority("echo.example.com")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{
				ca.issue(t, func(c *x509.Certificate) { c.DNSNames, c.URIs = []string{tc.cert}, []*url.URL{id} }),
			}})
			cfg, at := servePod(t, server)
			client := credentials.NewTLS(&tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS13})
			conn := dial(t, cfg, append(tc.opts, grpc.WithTransportCredentials(client))...)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var from peer.Peer
			if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&from)); err != nil {
				t.Fatal(err)
			}
			info, ok := from.AuthInfo.(credentials.TLSInfo)
			if !ok || info.State.ServerName != tc.cert || info.SPIFFEID.String() != id.String() || from.Addr.String() != at {
				t.Errorf("the call to %v was verified as %+v, want the name %q and the ID %v", from.Addr, from.AuthInfo, tc.cert, id)
			}
		})
	}
}

// podNames verifies each pod by a name of its own, pod.service.namespace.svc.
type podNames struct{ resolver.Builder } // of NewBuilder

func (b podNames) OverrideAuthority(t resolver.Target) string {
	return b.Builder.(resolver.AuthorityOverrider).OverrideAuthority(t)
}

func (b podNames) Build(t resolver.Target, cc resolver.ClientConn, o resolver.BuildOptions) (resolver.Resolver, error) {
	return b.Builder.Build(t, namedPods{cc, b.OverrideAuthority(t)}, o)
}

type namedPods struct {
	resolver.ClientConn
	service string
}

func (n namedPods) UpdateState(s resolver.State) error {
	for _, endpoint := range s.Endpoints {
		if info, ok := k8sresolver.InfoFrom(endpoint); ok {
			for i := range endpoint.Addresses {
				endpoint.Addresses[i].ServerName = info.Pod + "." + n.service
			}
		}
	}
	return n.ClientConn.UpdateState(s)
}

// Tests the README's way to verify each pod by a name of its own: the pod's certificate is
// accepted, and another's is not.
func TestTLS_PodNames(t *testing.T) {
	ca := newAuthority(t)
	client := credentials.NewTLS(&tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS13})
	for _, tc := range []struct{ pod, want string }{
		{pod: "p1"},
		{pod: "p2", want: "x509: certificate is valid for p2.echo-server.shop.svc, not p1.echo-server.shop.svc"},
	} {
		server := credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{
			ca.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{tc.pod + ".echo-server.shop.svc"} }),
		}})
		cfg, _ := servePod(t, server)
		conn, err := grpc.NewClient("k8s:///echo-server.shop:grpc", grpc.WithTransportCredentials(client), grpc.WithNoProxy(),
			grpc.WithResolvers(podNames{k8sresolver.NewBuilder(newClient(t, cfg), quiet())}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := call(t, conn); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("call to the pod p1 with the certificate of %s = %v, want %q", tc.pod, err, tc.want)
		}
	}
}

// Tests that the README's table of mistakes has every text as it is, and no other.
func TestReadme_TLS(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(connection error: .*?)` \\|").FindAllStringSubmatch(string(readme), -1)
	used := make([]bool, len(rows))
	for _, m := range mistakes(t) {
		text, found := m.text(t), false
		for i, row := range rows {
			pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(row[1]), "…", ".+") + "$"
			if regexp.MustCompile(pattern).MatchString(text) {
				used[i], found = true, true
			}
		}
		if !found {
			t.Errorf("%s: the README lacks\n%s", m.name, text)
		}
	}
	source, err := os.ReadFile("tls_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if code := regexp.MustCompile(`(?s)// podNames verifies.*?\n\n// Tests`).Find(source); !bytes.Contains(readme, bytes.TrimSuffix(code, []byte("\n\n// Tests"))) {
		t.Errorf("the README lacks\n%s", code)
	}
	for i, row := range rows {
		if !used[i] {
			t.Errorf("no mistake makes the text of the README\n%s", row[1])
		}
	}
}
