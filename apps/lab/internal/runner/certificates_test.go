package runner_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// overlay renders an overlay or a variant as a run does.
func overlay(t *testing.T, r *manifest.Repository, name string) runner.Overlay {
	t.Helper()
	named, err := strategy.Named(r, []string{name})
	if err != nil {
		t.Fatal(err)
	}
	overlays, err := runner.Render(r, named, nil)
	if err != nil {
		t.Fatal(err)
	}
	return overlays[0]
}

// secretOf returns the Secret with certificates among what is applied, nil without one.
func secretOf(o runner.Overlay) *unstructured.Unstructured {
	i := slices.IndexFunc(o.Objects, func(object *unstructured.Unstructured) bool {
		return object.GetKind() == "Secret" && object.GetName() == manifest.TLSSecret
	})
	if i < 0 {
		return nil
	}
	return o.Objects[i]
}

// file decodes a file of a Secret.
func file(t *testing.T, secret *unstructured.Unstructured, name string) []byte {
	t.Helper()
	text, _, err := unstructured.NestedString(secret.Object, "data", name)
	if err != nil {
		t.Fatal(err)
	}
	content, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// An overlay with certificates gets a Secret with one that holds for every name by which its
// clients and proxies know servers; each overlay has an authority of its own.
func TestCertificates(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range []string{"l4-tls", "dns-tls", "k8s-api-tls", "envoy-tls"} {
		t.Run(name, func(t *testing.T) {
			secret := secretOf(overlay(t, manifesttest.Checkout(t), name))
			if secret == nil {
				t.Fatal("it has no Secret with certificates")
			}
			namespace := manifest.Namespace(name)
			if secret.GetNamespace() != namespace {
				t.Errorf("the Secret is in namespace %q, want %q", secret.GetNamespace(), namespace)
			}
			pair, err := tls.X509KeyPair(file(t, secret, corev1.TLSCertKey), file(t, secret, corev1.TLSPrivateKeyKey))
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			if !roots.AppendCertsFromPEM(file(t, secret, "ca.crt")) {
				t.Fatal("ca.crt holds no certificate")
			}
			names := []string{"echo-server", "echo-server." + namespace + ".svc", "echo-server." + namespace + ".svc.cluster.local"}
			if name == "envoy-tls" {
				names = append(names, "envoy", "envoy."+namespace+".svc")
			}
			for _, dialed := range names {
				for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
					if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: dialed, Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
						t.Errorf("%s: %v", dialed, err)
					}
				}
			}
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: "elsewhere", Roots: roots}); err == nil {
				t.Error("it holds for any name")
			}
			roots2 := string(file(t, secret, "ca.crt"))
			if seen[roots2] {
				t.Error("another overlay has the same authority")
			}
			seen[roots2] = true
		})
	}
}

// No Secret is made where the pods mount none, and where the overlay brings its own, or lets
// cert-manager make it.
func TestCertificatesOfOthers(t *testing.T) {
	const kustomization = "namespace: grpc-lb-x\nresources: [../k8s-api, own.yaml]\ncomponents: [../../base/components/tls]\n"
	for name, own := range map[string]string{
		"secret":       "apiVersion: v1\nkind: Secret\nmetadata: {name: echo-tls}\n",
		"cert_manager": "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: x}\nspec: {secretName: echo-tls}\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := manifesttest.Clone(t, map[string]string{"overlays/x/kustomization.yaml": kustomization, "overlays/x/own.yaml": own})
			o := overlay(t, r, "x")
			if secret := secretOf(o); o.Certificates != nil || secret != nil && secret.Object["data"] != nil {
				t.Errorf("it has certificates of the lab: %v", secret)
			}
		})
	}
	if o := overlay(t, manifesttest.Checkout(t), "k8s-api"); o.Certificates != nil || secretOf(o) != nil {
		t.Error("an overlay without TLS has certificates")
	}
}
