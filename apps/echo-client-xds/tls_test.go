package main

import (
	"crypto/x509"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/grpc"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/client"
	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles/tlstest"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// If the xDS server says so, calls are made with mTLS, by the files that the bootstrap
// names: that is how a mesh gives its certificates. The log tells the server's SPIFFE ID.
// With the CA of another mesh no call is answered.
func TestMutualTLS(t *testing.T) {
	ca, other := tlstest.NewCA(t, "mesh"), tlstest.NewCA(t, "another mesh")
	id := &url.URL{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/shop/sa/echo-server"}
	pair := ca.Issue(t, func(c *x509.Certificate) { c.URIs = []*url.URL{id} })
	provider := &tlspb.CertificateProviderPluginInstance{InstanceName: "default"}
	server := serveXDS(t, "echo-server:8080", []string{serveMutual(t, ca, pair)}, &corepb.TransportSocket{
		Name: "envoy.transport_sockets.tls",
		ConfigType: &corepb.TransportSocket_TypedConfig{TypedConfig: pack(t, &tlspb.UpstreamTlsContext{CommonTlsContext: &tlspb.CommonTlsContext{
			TlsCertificateProviderInstance: provider,
			ValidationContextType: &tlspb.CommonTlsContext_ValidationContext{
				ValidationContext: &tlspb.CertificateValidationContext{CaCertificateProviderInstance: provider},
			},
		}})},
	})
	own := ca.Issue(t, nil)
	for _, tc := range []struct {
		name  string
		trust []byte
		code  int
	}{
		{"right_ca", ca.PEM, client.ExitOK},
		{"another_ca", other.PEM, client.ExitFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			env := []string{bootstrapFile + "=" + bootstrapTLS(t, server, tlstest.Mount(t, own, tc.trust))}
			code, stdout, stderr := run(t, env, "--target xds:///echo-server:8080 --rate 20 --count 5 --timeout 5s --admin=")
			if code != tc.code {
				t.Fatalf("exit code %d, want %d; stderr %q, stdout:\n%s", code, tc.code, stderr, stdout)
			}
			var ids, failures []string
			var summary *calllog.Summary
			for line, err := range calllog.Read(strings.NewReader(stdout)) {
				if err != nil {
					t.Fatal(err)
				}
				switch l := line.(type) {
				case *calllog.Peer:
					ids = append(ids, l.SPIFFEID)
				case *calllog.Failure:
					failures = append(failures, l.Error)
				case *calllog.Summary:
					summary = l
				}
			}
			if tc.code == client.ExitOK {
				if len(ids) != 1 || ids[0] != id.String() || summary.Opened == 0 || summary.Verified != summary.Opened {
					t.Errorf("IDs %q, %d of %d connections verified, want %v and all", ids, summary.Verified, summary.Opened, id)
				}
			} else if want := "x509: certificate signed by unknown authority"; !strings.Contains(strings.Join(failures, "\n"), want) || len(ids) > 0 {
				t.Errorf("failures %q, IDs %q, want %q and none", failures, ids, want)
			}
		})
	}
}

// bootstrapTLS is bootstrap with the files that gRPC reads certificates from, as Istio's
// agent writes it.
func bootstrapTLS(t *testing.T, addr string, secret *tlstest.Secret) string {
	t.Helper()
	content, err := json.Marshal(map[string]any{
		"xds_servers": []any{map[string]any{
			"server_uri": addr, "server_features": []string{"xds_v3"},
			"channel_creds": []any{map[string]string{"type": "insecure"}},
		}},
		"node": map[string]string{"id": "client"},
		"certificate_providers": map[string]any{"default": map[string]any{
			"plugin_name": "file_watcher",
			"config": map[string]string{
				"certificate_file": secret.Path("tls.crt"), "private_key_file": secret.Path("tls.key"), "ca_certificate_file": secret.Path("ca.crt"),
				"refresh_interval": "1s",
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, string(content))
}

// serveMutual returns the address of an EchoService that demands certificates of the CA.
func serveMutual(t *testing.T, ca *tlstest.CA, pair tlstest.Pair) string {
	t.Helper()
	return tlstest.ServeMutual(t, ca, pair, func(r grpc.ServiceRegistrar) { echopb.RegisterEchoServiceServer(r, echoServer{name: "a"}) })
}
