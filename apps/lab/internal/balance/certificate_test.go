package balance_test

import (
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// The Certificate of a Gateway's listener has the hostnames that it serves.
func TestCertificateHostnames(t *testing.T) {
	const certificate = `---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: front, namespace: edge}
spec: {secretName: front-tls, dnsNames: [NAMES]}
`
	for _, tt := range []struct{ name, hostnames, listener, names, want string }{
		{"the hostname", "cart.example.com", "'*.example.com'", "cart.example.com", ""},
		{"a wildcard", "cart.example.com", "'*.example.com'", "'*.example.com'", ""},
		{"another name", "cart.example.com", "'*.example.com'", "example.com", "it has the DNS names example.com, and listener grpc of Gateway/front serves cart.example.com"},
		{"a wildcard that is served", "", "'*.example.com'", "cart.example.com", "serves *.example.com"},
		{"a hostname that the listener does not serve", "cart.example.com, cart.example.net", "'*.example.com'", "cart.example.com", ""},
		{"any hostname", "", "''", "cart.example.com", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			objects, err := manifest.Decode([]byte(edit(gatewayScene, "protocol: HTTP", "protocol: HTTPS, hostname: "+tt.listener+", tls: {certificateRefs: [{name: front-tls}]}", route, route+"hostnames: ["+tt.hostnames+"]\n  ") +
				strings.Replace(certificate, "NAMES", tt.names, 1)))
			if err != nil {
				t.Fatal(err)
			}
			found := balance.Foreign(objects).ServiceFindings()
			if tt.want == "" && len(found) > 0 || tt.want != "" && (len(found) != 1 || !strings.Contains(found[0].Seen, tt.want)) {
				t.Errorf("found %+v, want %q", found, tt.want)
			}
		})
	}
}

// A client with authorities verifies its target's host, a name of a setting, or with the
// scheme k8s the Service's name; one of the Certificate's names has to be that.
func TestCertificateNames(t *testing.T) {
	const certificate = `---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: cart, namespace: shop}
spec: {secretName: cart-tls, NAMES}
`
	for _, tt := range []struct{ name, target, settings, names, want string }{
		{"the short name", "dns:///cart:9000", `"--tls-ca=/ca.crt"`, "dnsNames: [cart]", ""},
		{"the name of the target", "dns:///cart.shop.svc.cluster.local.:9000", `"--tls-ca=/ca.crt"`, "dnsNames: [cart.shop.svc.cluster.local]", ""},
		{"a wildcard for one label", "dns:///cart.shop:9000", `"--root-cert-file=/ca.crt"`, "dnsNames: ['*.shop']", ""},
		{"a wildcard for two", "dns:///cart.shop.svc:9000", `"--tls-ca=/ca.crt"`, "dnsNames: ['*.svc']", "it has the DNS names *.svc, and Deployment/web verifies cart.shop.svc"},
		{"other names", "dns:///cart:9000", `"--tls-ca=/ca.crt"`, "dnsNames: [cart.shop.svc, localhost]", "it has the DNS names cart.shop.svc, localhost, and Deployment/web verifies cart"},
		{"a common name alone", "dns:///cart:9000", `"--tls-ca=/ca.crt"`, "commonName: cart", "it has no DNS name, and Deployment/web verifies cart"},
		{"a name by a setting", "dns:///cart:9000", `"--tls-ca=/ca.crt", "--tls-server-name=cart.example.com"`, "dnsNames: [cart.example.com]", ""},
		{"another name by a setting", "dns:///cart:9000", `"--tls-ca=/ca.crt", "--tls-server-name=till"`, "dnsNames: [cart]", "verifies till"},
		{"the scheme k8s", "k8s:///cart:rpc", `"--tls-ca=/ca.crt"`, "dnsNames: [cart.shop.svc]", ""},
		{"the scheme k8s, and the short name", "k8s:///cart:rpc", `"--tls-ca=/ca.crt"`, "dnsNames: [cart]", "verifies cart.shop.svc"},
		{"the certificate of authorities", "dns:///cart:9000", `"--tls-ca=/ca.crt"`, "isCA: true", ""},
		{"no TLS that is known", "dns:///cart:9000", `"--verbose"`, "dnsNames: [till]", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := paths(t, edit(headlessScene, "name: grpc, port: 80", "name: rpc, port: 80", `"TARGET"`, `"`+tt.target+`", `+tt.settings+", "+roundRobin,
				"      containers:\n        - {name: cart", "      volumes: [{name: tls, secret: {secretName: cart-tls}}]\n      containers:\n        - {readinessProbe: {grpc: {port: 9000}}, name: cart")+strings.Replace(certificate, "NAMES", tt.names, 1))
			var seen []string
			for _, f := range found[0].Findings {
				if f.Name == "certificate-name" {
					seen = append(seen, f.Seen)
				}
			}
			if text := strings.Join(seen, "; "); !strings.Contains(text, tt.want) || tt.want == "" && text != "" {
				t.Errorf("found %q, want %q", text, tt.want)
			}
		})
	}
}
