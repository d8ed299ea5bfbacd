package check_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/check"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

// withTLS is a checkout in which an overlay has its component for TLS, by one line, and
// what it renders.
func withTLS(t *testing.T, overlay string) (*manifest.Repository, []manifest.Object) {
	t.Helper()
	files := manifesttest.ByHand(t, manifest.Variant{Overlay: overlay, Components: []string{"base/components/tls"}})
	if overlay == "envoy" {
		file := "overlays/envoy/kustomization.yaml"
		plain, err := manifesttest.Checkout(t).Read(file)
		if err != nil {
			t.Fatal(err)
		}
		files[file] = string(manifesttest.Mutate(t, plain, "  - envoy\n", "  - envoy\n  - tls\n"))
	}
	repository := manifesttest.Clone(t, files)
	rendered, err := repository.Render(overlay)
	if err != nil {
		t.Fatal(err)
	}
	return repository, manifesttest.Decode(t, rendered)
}

// With TLS every rule accepts an overlay, its probes ask the port without TLS, and each
// program that needs the Secret mounts it read-only. No Secret is rendered.
func TestTLS(t *testing.T) {
	for overlay, programs := range map[string][]string{
		"l4": {"echo-server", "echo-client"}, "dns": {"echo-server", "echo-client"}, "k8s-api": {"echo-server", "echo-client"},
		"envoy": {"echo-server", "echo-client", "envoy"},
	} {
		t.Run(overlay, func(t *testing.T) {
			repository, objects := withTLS(t, overlay)
			violations, err := check.Checkout(repository, overlay)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range violations {
				t.Error(v)
			}
			pods := podsOf(objects)
			for _, program := range programs {
				pod := pods[program]
				if len(pod.Volumes) == 0 || pod.Volumes[0].Secret == nil || pod.Volumes[0].Secret.SecretName != "echo-tls" {
					t.Errorf("%s has the volumes %+v, want the Secret echo-tls", program, pod.Volumes)
				}
				if mounts := pod.Containers[0].VolumeMounts; len(mounts) == 0 || mounts[0].MountPath != "/tls" || !mounts[0].ReadOnly {
					t.Errorf("%s mounts %+v, want /tls, read-only", program, mounts)
				}
			}
			server := pods["echo-server"].Containers[0]
			if ready, alive := server.ReadinessProbe.GRPC, server.LivenessProbe.GRPC; ready.Port != 8081 || alive.Port != 8081 ||
				ready.Service == nil || *ready.Service != "com.example.grpc.EchoService" {
				t.Errorf("probes %+v and %+v, want the health port 8081 and the service of before", ready, alive)
			}
			if secrets := manifest.All[*corev1.Secret](objects); len(secrets) > 0 {
				t.Errorf("%d Secrets are rendered, want none", len(secrets))
			}
		})
	}
}

// What a change of the component forgets is found: a Secret that nobody makes, probes that ask
// the port with TLS, a Service that names its protocol as if there was none.
func TestTLS_Wrong(t *testing.T) {
	for _, test := range []struct{ rule, file, old, new string }{
		{"reference", "echo-server.patch.yaml", "secretName: echo-tls", "secretName: echo-tsl"},
		{"probe-port", "probes.patch.yaml", "readinessProbe: {grpc: {port: 8081}}", "readinessProbe: {grpc: {port: 8080}}"},
		{"service-port", "service.patch.yaml", "appProtocol: https", "appProtocol: http2"},
	} {
		t.Run(test.rule, func(t *testing.T) {
			const component = "base/components/tls/"
			files := manifesttest.ByHand(t, manifest.Variant{Overlay: "l4", Components: []string{component}})
			before, err := manifesttest.Checkout(t).Read(component + test.file)
			if err != nil {
				t.Fatal(err)
			}
			files[component+test.file] = string(manifesttest.Mutate(t, before, test.old, test.new))
			violations, err := check.Checkout(manifesttest.Clone(t, files), "l4")
			if err != nil {
				t.Fatal(err)
			}
			if len(violations) == 0 {
				t.Fatal("nothing is found")
			}
			for _, v := range violations {
				if v.Rule != test.rule {
					t.Errorf("%v, want only rule %s", v, test.rule)
				}
			}
		})
	}
}

// A probe in plaintext of a port that takes TLS alone is found in manifests of any origin,
// whose programs have settings of their own.
func TestTLS_ProbesOfOthers(t *testing.T) {
	const manifests = `
apiVersion: v1
kind: Service
metadata: {name: pay}
spec: {selector: {app: pay}, ports: [{name: grpc, port: 443, targetPort: grpc, appProtocol: PROTOCOL}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: pay}
spec:
  selector: {matchLabels: {app: pay}}
  template:
    metadata: {labels: {app: pay}}
    spec:
      containers: [{name: pay, args: [ARGS], ports: [{name: grpc, containerPort: 8443}MORE], readinessProbe: {PROBE}}]
`
	for _, test := range []struct{ name, protocol, args, more, probe, want string }{
		{"a Service names TLS", "https", "", "", "grpc: {port: 8443}", "container pay: the readiness probe asks port 8443, which takes TLS alone: Service/pay has appProtocol https"},
		{"and the probe is HTTP", "https", "", "", "httpGet: {port: grpc}", "asks port grpc, which takes TLS alone"},
		{"and the probe is HTTPS", "https", "", "", "httpGet: {port: grpc, scheme: HTTPS}", ""},
		{"and the probe opens a connection", "https", "", "", "tcpSocket: {port: 8443}", ""},
		{"and the probe is a program", "https", "", "", "exec: {command: [grpc_health_probe, -tls]}", ""},
		{"and the probe asks another port", "https", "", ", {containerPort: 8081}", "grpc: {port: 8081}", ""},
		{"no TLS", "kubernetes.io/h2c", "--port=8443", "", "grpc: {port: 8443}", ""},
		{"a certificate by a flag", "kubernetes.io/h2c", "--tls-cert-file=/tls/tls.crt", "", "grpc: {port: 8443}", "which takes TLS alone: the container has a certificate by the argument --tls-cert-file"},
		{"a certificate, and a second port", "kubernetes.io/h2c", "--tls-cert-file=/tls/tls.crt", ", {containerPort: 8081}", "grpc: {port: 8443}", ""},
		{"a certificate for calls to others", "kubernetes.io/h2c", "--client-tls-cert=/tls/tls.crt", "", "grpc: {port: 8443}", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, _, err := check.Manifests([]byte(strings.NewReplacer("PROTOCOL", test.protocol, "ARGS", test.args, "MORE", test.more, "PROBE", test.probe).Replace(manifests)))
			if err != nil {
				t.Fatal(err)
			}
			if seen := lines(found, "probe-port"); !strings.Contains(seen, test.want) || test.want == "" && seen != "" {
				t.Errorf("got %q, want %q", seen, test.want)
			}
		})
	}
}

// A Secret that an operator makes of an object is there.
func TestTLS_SecretsOfOperators(t *testing.T) {
	const web = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {volumes: [{name: tls, secret: {secretName: web-tls}}], containers: [{name: web, image: "web:1"}]}
---
`
	for _, test := range []struct {
		object string
		found  bool
	}{
		{"{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: web}, spec: {secretName: web-tls}}", false},
		{"{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: web-tls}, spec: {secretName: web}}", true},
		{"{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: web}, spec: {target: {name: web-tls}}}", false},
		{"{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: web-tls}, spec: {}}", false},
		{"{apiVersion: bitnami.com/v1alpha1, kind: SealedSecret, metadata: {name: web-tls}}", false},
		{"{apiVersion: example.com/v1, kind: Secret, metadata: {name: web}}", true},
	} {
		err := check.Objects("x", manifesttest.Decode(t, []byte(web+test.object)))
		if found := err != nil && strings.Contains(err.Error(), `no Secret "web-tls" is rendered`); found != test.found {
			t.Errorf("%s: found %t, want %t: %v", test.object, found, test.found, err)
		}
	}
}

// cert-manager's certificate has the names that clients of each strategy verify. They hold
// the namespace of the overlay that the component is put around; within the overlay, where
// it is not set yet, Kustomize refuses the component.
func TestTLS_CertManager(t *testing.T) {
	repository := manifesttest.Clone(t, map[string]string{
		"overlays/mine/kustomization.yaml": "resources: [../k8s-api]\ncomponents: [../../base/components/tls, ../../base/components/tls/cert-manager]\n",
	})
	rendered, err := repository.Render("mine")
	if err != nil {
		t.Fatal(err)
	}
	want := "  dnsNames:\n  - echo-server\n  - envoy\n  - envoy.grpc-lb-k8s-api.svc\n  - echo-server.grpc-lb-k8s-api.svc\n  - echo-server.grpc-lb-k8s-api.svc.cluster.local\n"
	if !strings.Contains(string(rendered), want) || strings.Contains(string(rendered), ".NAMESPACE.") {
		t.Errorf("rendered\n%s\nwant\n%s", rendered, want)
	}
	inside := manifesttest.Clone(t, manifesttest.ByHand(t, manifest.Variant{Overlay: "l4", Components: []string{"base/components/tls/cert-manager"}}))
	_, err = inside.Render("l4")
	manifesttest.Rejected(t, err, "`metadata.namespace` is missing for replacement source Service")
}

// Envoy's configuration with TLS is the one without, but for TLS.
func TestTLS_EnvoyDiffersInTLSAlone(t *testing.T) {
	_, objects := withTLS(t, "envoy")
	with, without := map[string]any{}, map[string]any{}
	for content, into := range map[string]*map[string]any{
		envoyFiles(t, objects)["envoy.yaml"]: &with, envoyFiles(t, manifesttest.Decode(t, manifesttest.Render(t, "envoy")))["envoy.yaml"]: &without,
	} {
		if err := yaml.Unmarshal([]byte(content), into); err != nil {
			t.Fatal(err)
		}
	}
	delete(with, "node")
	if sockets := removeAll(with, "transport_socket"); sockets != 2 {
		t.Errorf("%d transport sockets, want those of the clients and of the servers", sockets)
	}
	if diff := cmp.Diff(without, with); diff != "" {
		t.Errorf("(-without TLS +with):\n%s", diff)
	}
}

func removeAll(tree any, key string) (removed int) {
	switch node := tree.(type) {
	case map[string]any:
		if _, ok := node[key]; ok {
			delete(node, key)
			removed++
		}
		for _, child := range node {
			removed += removeAll(child, key)
		}
	case []any:
		for _, child := range node {
			removed += removeAll(child, key)
		}
	}
	return removed
}

func envoyFiles(t *testing.T, objects []manifest.Object) map[string]string {
	t.Helper()
	for _, m := range manifest.All[*corev1.ConfigMap](objects) {
		if m.Data["envoy.yaml"] != "" {
			return m.Data
		}
	}
	t.Fatal("no ConfigMap has an envoy.yaml")
	return nil
}
