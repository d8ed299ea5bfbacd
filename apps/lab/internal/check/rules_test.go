package check_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/check"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
)

// fixture is one file of testdata/rules, named after its rule: what a violation
// says, files, and files that lie on top of them in the tree that the rule
// accepts and in the one that it rejects.
type fixture struct {
	want                  string
	files, accept, reject map[string]string
}

var fixtureWant = regexp.MustCompile(`(?m)^want: (.+)$`)

func readFixture(t *testing.T, rule string) fixture {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata/rules", rule+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	f := fixture{files: map[string]string{}, accept: map[string]string{}, reject: map[string]string{}}
	if match := fixtureWant.FindSubmatch(archive.Comment); match != nil {
		f.want = string(match[1])
	}
	for _, file := range archive.Files {
		name, into := file.Name, f.files
		if below, ok := strings.CutPrefix(name, "accept/"); ok {
			name, into = below, f.accept
		} else if below, ok := strings.CutPrefix(name, "reject/"); ok {
			name, into = below, f.reject
		}
		into[name] = string(file.Data)
	}
	if f.want == "" || len(f.accept) == 0 || len(f.reject) == 0 {
		t.Fatalf("testdata/rules/%s.txtar: want %q, %d files to accept and %d to reject, expected some of each", rule, f.want, len(f.accept), len(f.reject))
	}
	return f
}

// of returns the violations of one rule in a tree of nothing but the files.
func of(t *testing.T, rule string, layers ...map[string]string) string {
	t.Helper()
	root, names := t.TempDir(), []string{"x"}
	manifesttest.Write(t, root, "go.mod", "module github.com/grpc-lb/grpc-lb\n")
	for _, files := range layers {
		for name, content := range files {
			manifesttest.Write(t, root, name, content)
			if strings.HasPrefix(name, "argocd/") {
				names = nil // everything
			}
		}
	}
	repository, err := manifest.Find(root)
	if err != nil {
		t.Fatal(err)
	}
	found, err := check.Checkout(repository, names...)
	if err != nil {
		t.Fatal(err)
	}
	return lines(found, rule)
}

// lines are the violations of one rule, a line each.
func lines(found []check.Violation, rule string) string {
	var all []string
	for _, v := range found {
		if v.Rule == rule {
			all = append(all, v.String())
		}
	}
	return strings.Join(all, "\n")
}

// mutations are changes of the checkout, one for each rule at least.
var mutations = []struct {
	rule     string
	file     string
	old, new string   // in the file, with TAG and IMAGE for those of the release
	check    []string // default everything
	in       string   // the file that is blamed, default the one that is changed
}{
	{rule: "kustomize-build", file: "overlays/dns/kustomization.yaml", old: "path: echo-client.patch.yaml", new: "path: client.patch.yaml", check: []string{"dns"}, in: "overlays/dns/client.patch.yaml"},
	{rule: "kustomize-warning", file: "base/kustomization.yaml", old: "labels:\n  - includeTemplates: true\n    pairs:\n      app", new: "commonLabels:\n  app", check: []string{"dns"}},
	{rule: "kustomize-field", file: "overlays/dns/kustomization.yaml", old: "namespace: grpc-lb-dns", new: "namespace: grpc-lb-dns\nnamePrefix: a-", check: []string{"dns"}},
	{rule: "patch-form", file: "overlays/dns/echo-client.patch.yaml", old: "# The client resolves", new: "#\n# The client resolves", check: []string{"dns"}},
	{rule: "entry-effect", file: "base/kustomization.yaml", old: "components:\n", new: "images: [{name: echo, newTag: v1}]\ncomponents:\n", check: []string{"l4"}},
	{rule: "entry-effect", file: release.Component, old: "- name: echo-server\n", new: "- name: echo\n", check: []string{"l4"}},
	{rule: "entry-effect", file: release.Component, old: "- name: echo-client-xds", new: "- name: client-xds", check: []string{"xds"}},
	{rule: "entry-effect", file: release.Component, old: "- name: echo-client-xds", new: "- name: client-xds", check: []string{"l4"}},
	{rule: "image-once", file: "overlays/xds/kustomization.yaml", old: "patches:\n", new: "images: [{name: IMAGE, newTag: v0.2.0}]\npatches:\n", check: []string{"xds"}},
	{rule: "release", file: release.Component, old: "/echo-client-xds\n    newTag: TAG", new: "/echo-client-xds\n    newTag: TAG.1", check: []string{"l4"}},
	{rule: "strict-fields", file: "base/echo-server/deployment.yaml", old: "replicas: 3", new: "replica: 3", check: []string{"l4"}},
	{rule: "namespace", file: "overlays/dns/kustomization.yaml", old: "namespace: grpc-lb-dns", new: "namespace: grpc-lb-l4", check: []string{"dns"}},
	{rule: "component", file: "base/echo-client/deployment.yaml", old: "- name: echo-client\n          image", new: "- name: client\n          image", check: []string{"l4"}},
	{rule: "namespace-string", file: "overlays/linkerd/l5d/config.yaml", old: "grpc-lb-linkerd", new: "grpc-lb-dns", check: []string{"linkerd"}},
	{rule: "selector", file: "base/echo-server/service.yaml", old: "selector:\n    app.kubernetes.io/name: echo-server", new: "selector:\n    app.kubernetes.io/name: echo", check: []string{"l4"}},
	{rule: "image-pinned", file: "overlays/linkerd/l5d/daemonset.yaml", old: "linkerd:1.7.5", new: "linkerd:latest", check: []string{"linkerd"}},
	{rule: "resource-requests", file: "base/echo-client/deployment.yaml", old: "              cpu: 20m\n", new: "", check: []string{"l4"}},
	{rule: "reference", file: "overlays/linkerd/l5d/daemonset.yaml", old: "serviceAccountName: l5d", new: "serviceAccountName: linkerd", check: []string{"linkerd"}},
	{rule: "variable", file: "overlays/linkerd/echo-client.patch.yaml", old: "name: HOST_IP", new: "name: NODE_IP", check: []string{"linkerd"}},
	{rule: "variable", file: "base/echo-client/deployment.yaml", old: "            - --lb-policy=pick_first\n", new: "            - --lb-policy=pick_first\n            - --message=cost $(USD)\n", check: []string{"l4"}},
	{rule: "variable", file: "base/echo-client/deployment.yaml", old: "- name: RATE\n              value: \"", new: "- name: RATE\n              value: \"$(CALLS)", check: []string{"l4"}},
	{rule: "service-port", file: "base/echo-server/service.yaml", old: "appProtocol: kubernetes.io/h2c", new: "appProtocol: grpc", check: []string{"l4"}},
	{rule: "service-target-port", file: "base/echo-server/service.yaml", old: "targetPort: grpc", new: "targetPort: http", check: []string{"l4"}},
	{rule: "probe", file: "base/echo-server/deployment.yaml", old: "livenessProbe:", new: "startupProbe:", check: []string{"l4"}},
	{rule: "probe-port", file: "base/echo-server/deployment.yaml", old: "port: 8080\n            timeoutSeconds", new: "port: 8081\n            timeoutSeconds", check: []string{"l4"}},
	{rule: "client-target", file: "overlays/dns/echo-client.patch.yaml", old: "dns:///echo-server:8080", new: "dns:///echo:8080", check: []string{"dns"}},
	{rule: "service-kind", file: "overlays/dns/kustomization.yaml", old: "components:\n  - ../../base/components/headless\n", new: "", check: []string{"dns"}, in: "base/echo-server/service.yaml"},
	{rule: "drain-grace", file: "base/echo-server/deployment.yaml", old: "--drain-timeout=20s", new: "--drain-timeout=30s", check: []string{"l4"}},
	{rule: "pod-security", file: "base/echo-client/deployment.yaml", old: "runAsNonRoot: true", new: "runAsNonRoot: false", check: []string{"l4"}},
	{rule: "rbac", file: "overlays/k8s-api/kustomization.yaml", old: "  - rolebinding.yaml\n", new: "", check: []string{"k8s-api"}},
	{rule: "linkerd-config", file: "overlays/linkerd/l5d/config.yaml", old: "segments: 1", new: "segments: 2", check: []string{"linkerd"}},
	{rule: "envoy-config", file: "overlays/envoy/envoy/envoy.yaml", old: "address: 127.0.0.1, port_value: 9901}\noverload", new: "address: 0.0.0.0, port_value: 9901}\noverload", check: []string{"envoy"}},
	{rule: "envoy-upstream", file: "overlays/envoy/envoy/envoy.yaml", old: "address: echo-server, port_value: 8080", new: "address: echo-server, port_value: 80", check: []string{"envoy"}},
	{rule: "envoy-discovery", file: "overlays/envoy/envoy/envoy.yaml", old: "dns_refresh_rate: 1s", new: "all_addresses_in_single_endpoint: true", check: []string{"envoy"}},
	{rule: "envoy-protocol", file: "overlays/envoy/envoy/envoy.yaml", old: "            http2_protocol_options:\n", new: "            http_protocol_options:\n", check: []string{"envoy"}},
	{rule: "grpc-route", file: "overlays/gateway/grpcroute.yaml", old: "port: 8080", new: "port: 80", check: []string{"gateway"}},
	{rule: "grpc-route", file: "overlays/gateway/grpcroute.yaml", old: "name: echo-server", new: "name: echo", check: []string{"gateway"}},
	{rule: "grpc-route", file: "overlays/gateway/grpcroute.yaml", old: "name: echo-server", new: "namespace: default\n          name: echo-server", check: []string{"gateway"}},
	{rule: "grpc-route", file: "overlays/gateway/grpcroute.yaml", old: "name: echo-gateway\n      section", new: "name: gateway\n      section", check: []string{"gateway"}},
	{rule: "grpc-route", file: "overlays/gateway/grpcroute.yaml", old: "sectionName: grpc", new: "sectionName: http", check: []string{"gateway"}},
	{rule: "client-target", file: "overlays/gateway/echo-client.patch.yaml", old: "echo-gateway-istio:8080", new: "echo-gateway-nginx:8080", check: []string{"gateway"}},
	{rule: "strict-fields", file: "overlays/gateway/grpcroute.yaml", old: "backendRefs:", new: "backendRef:", check: []string{"gateway"}},
	{rule: "grpc-route", file: "overlays/gateway/grpcroute.yaml", old: "weight: 1", new: "weight: 0", check: []string{"gateway"}},
	{rule: "grpc-route", file: "overlays/gateway/gateway.yaml", old: "protocol: HTTP ", new: "protocol: HTTPS ", check: []string{"gateway"}},
	{rule: "grpc-route", file: "overlays/gateway/gateway.yaml", old: "    - name: grpc\n", new: "    - name: grpc\n      hostname: echo.example.com\n", check: []string{"gateway"}},
	{rule: "certificate-name", file: "base/echo-server/poddisruptionbudget.yaml", old: "apiVersion: policy/v1\n", new: payByTLS + "---\napiVersion: policy/v1\n", check: []string{"l4"}},
	{rule: "client-policy", file: "overlays/dns/echo-client.patch.yaml", old: "            - --lb-policy=round_robin\n", new: "", check: []string{"dns"}, in: "base/echo-client/deployment.yaml"},
	{rule: "client-policy", file: "overlays/k8s-api/echo-client.patch.yaml", old: "--lb-policy=round_robin", new: "--lb-policy=pick_first", check: []string{"k8s-api"}},
	{rule: "cluster-ip", file: "base/echo-client/deployment.yaml", old: "app.kubernetes.io/component: client", new: "app.kubernetes.io/component: caller", check: []string{"l4"}, in: "base/echo-server/service.yaml"},
	{rule: "mesh-bypass", file: "base/echo-client/deployment.yaml", old: "        app.kubernetes.io/name: echo-client\n    spec:", new: "        app.kubernetes.io/name: echo-client\n      annotations:\n        traffic.sidecar.istio.io/excludeOutboundPorts: \"8080\"\n    spec:", check: []string{"istio"}},
	{rule: "mesh-protocol", file: "base/echo-server/service.yaml", old: "appProtocol: kubernetes.io/h2c", new: "appProtocol: tcp", check: []string{"istio"}},
	{rule: "xds-agent", file: "overlays/xds/echo-client.patch.yaml", old: `inject: "true"`, new: `inject: "false"`, check: []string{"xds"}, in: "base/echo-client/deployment.yaml"},
	{rule: "replicas", file: "base/echo-server/deployment.yaml", old: "replicas: 3", new: "replicas: 0", check: []string{"l4"}},
	{rule: "session-affinity", file: "base/echo-server/service.yaml", old: "spec:\n", new: "spec:\n  sessionAffinity: ClientIP\n", check: []string{"l4"}},
	{rule: "traffic-policy", file: "base/echo-server/service.yaml", old: "spec:\n", new: "spec:\n  internalTrafficPolicy: Local\n", check: []string{"l4"}},
	{rule: "traffic-policy", file: "base/echo-server/service.yaml", old: "spec:\n", new: "spec:\n  trafficDistribution: PreferSameNode\n", check: []string{"dns"}},
	{rule: "not-ready-addresses", file: "base/echo-server/service.yaml", old: "spec:\n", new: "spec:\n  publishNotReadyAddresses: true\n", check: []string{"dns"}},
	{rule: "readiness", file: "base/echo-server/deployment.yaml", old: "readinessProbe:\n            grpc:\n              port: 8080\n              service: com.example.grpc.EchoService\n            periodSeconds: 2\n            timeoutSeconds: 2\n          livenessProbe:", new: "livenessProbe:", check: []string{"l4"}},
	{rule: "disruption-budget", file: "base/echo-server/poddisruptionbudget.yaml", old: "maxUnavailable: 1", new: "minAvailable: 100%", check: []string{"l4"}},
	{rule: "destination-subset", file: "base/echo-server/poddisruptionbudget.yaml", old: "apiVersion: policy/v1\n", new: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: echo-server}\nspec: {host: echo-server, subsets: [{name: v2, labels: {version: v2}}]}\n---\napiVersion: policy/v1\n", check: []string{"istio"}},
	{rule: "autoscaler-pinned", file: "base/echo-server/poddisruptionbudget.yaml", old: "apiVersion: policy/v1\n", new: "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: echo-server}\nspec: {maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: echo-server}}\n---\napiVersion: policy/v1\n", check: []string{"l4"}},
	{rule: "network-policy", file: "base/echo-server/poddisruptionbudget.yaml", old: "apiVersion: policy/v1\n", new: "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: echo-server}\nspec: {podSelector: {matchLabels: {app.kubernetes.io/name: echo-server}}}\n---\napiVersion: policy/v1\n", check: []string{"l4"}},
	{rule: "network-policy", file: "overlays/k8s-api/kustomization.yaml", old: "components:\n", new: "components:\n  - ../../base/components/network-policy\n", check: []string{"k8s-api"}, in: "base/components/network-policy/echo-client.yaml"},
	{rule: "network-policy", file: "overlays/istio/kustomization.yaml", old: "patches:\n", new: "components:\n  - ../../base/components/network-policy\npatches:\n", check: []string{"istio"}, in: "base/components/network-policy/dns.yaml"},
	{rule: "unlisted-file", file: "base/kustomization.yaml", old: "  - echo-server/poddisruptionbudget.yaml\n", new: "", check: []string{"l4"}, in: "base/echo-server/poddisruptionbudget.yaml"},
	{rule: "autoscaler-target", file: "base/echo-server/poddisruptionbudget.yaml", old: "apiVersion: policy/v1\n", new: "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: echo}\nspec: {maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: echo}}\n---\napiVersion: policy/v1\n", check: []string{"l4"}},
	{rule: "resource-limits", file: "base/echo-server/deployment.yaml", old: "limits:\n              memory: ", new: "limits:\n              memory: 1Ki # ", check: []string{"l4"}},
	{rule: "envoy-drain", file: "overlays/envoy/envoy/deployment.yaml", old: "sleep 12", new: "sleep 2", check: []string{"envoy"}},
	{rule: "xds-injection", file: "overlays/xds/echo-client.patch.yaml", old: `inject: "true"`, new: `inject: "false"`, check: []string{"xds"}},
	{rule: "progress-deadline", file: "overlays/envoy/envoy/deployment.yaml", old: "  progressDeadlineSeconds: 60\n", new: "", check: []string{"envoy"}},
	{rule: "prune-confirm", file: "base/namespace.yaml", old: "Prune=confirm", new: "ServerSideApply=true", check: []string{"l4"}},
	{rule: "argocd-strict", file: "argocd/dns.yaml", old: "selfHeal: true", new: "selfHeals: true"},
	{rule: "argocd-applications", file: "argocd/dns.yaml", old: "name: grpc-lb-dns\n", new: "name: grpc-lb-sdn\n"},
	{rule: "argocd-application", file: "argocd/dns.yaml", old: "path: overlays/dns", new: "path: overlays/l4"},
	{rule: "argocd-application", file: "argocd/l4.yaml", old: "refresh: true", new: "refresh: false"},
	{rule: "argocd-application", file: "argocd/l4.yaml", old: "Prune=confirm", new: "Prune=true"},
	{rule: "argocd-root", file: "argocd/root.yaml", old: "project: grpc-lb-root", new: "project: default"},
	{rule: "argocd-root", file: "argocd/root.yaml", old: "refresh: true", new: "refresh: false"},
	{rule: "argocd-root", file: "argocd/root.yaml", old: "    - group: argoproj.io\n      kind: AppProject\n", new: "    - group: argoproj.io\n      kind: AppProject\n    - group: ''\n      kind: Secret\n"},
	{rule: "argocd-project", file: "argocd/project.yaml", old: "namespace: grpc-lb-*", new: "namespace: '*'"},
	{rule: "argocd-kinds", file: "argocd/project.yaml", old: "kind: DaemonSet", new: "kind: StatefulSet"},
}

// payByTLS is a server whose certificate has another name than the one that its client verifies.
const payByTLS = `apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: pay}
spec: {secretName: pay-tls, dnsNames: [pay.example.com], issuerRef: {name: ca}}
---
apiVersion: v1
kind: Service
metadata: {name: pay}
spec: {clusterIP: None, selector: {app: pay}, ports: [{name: grpc, port: 8443, appProtocol: https}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: pay}
spec:
  serviceName: pay
  selector: {matchLabels: {app: pay}}
  template:
    metadata: {labels: {app: pay}}
    spec:
      volumes: [{name: tls, secret: {secretName: pay-tls}}]
      containers:
        - {name: pay, readinessProbe: {tcpSocket: {port: 8443}}, ports: [{containerPort: 8443}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: web}
spec:
  template:
    metadata: {labels: {app: web}}
    spec:
      restartPolicy: Never
      containers:
        - {name: web, args: ["--pay=dns:///pay:8443", "--lb-policy=round_robin", "--ca-file=/ca/ca.crt"]}
`

// Every rule has a name and a remedy of its own, accepts one fixture, rejects
// another, and rejects the checkout once it is changed.
func TestRules(t *testing.T) {
	var known []string
	for _, rule := range check.Rules {
		if slices.Contains(known, rule.Name) || !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(rule.Name) || rule.Remedy == "" {
			t.Errorf("rule %q: expected a name in kebab case that no other rule has, and a remedy", rule.Name)
		}
		known = append(known, rule.Name)
		t.Run(rule.Name, func(t *testing.T) {
			f := readFixture(t, rule.Name)
			if found := of(t, rule.Name, f.files, f.accept); found != "" {
				t.Errorf("the fixture to accept is rejected: %s", found)
			}
			if found := of(t, rule.Name, f.files, f.reject); !strings.Contains(found, f.want) {
				t.Errorf("got %q of the fixture to reject, expected %q", found, f.want)
			}
			changed := 0
			for _, m := range mutations {
				if m.rule != rule.Name {
					continue
				}
				changed++
				content, err := os.ReadFile(filepath.Join(manifesttest.Checkout(t).Root(), m.file))
				if err != nil {
					t.Fatal(err)
				}
				name, _ := manifesttest.Released(t, "echo-client-xds")
				now := strings.NewReplacer("TAG", manifesttest.Tag(t), "IMAGE", name)
				found, err := check.Checkout(manifesttest.Clone(t, map[string]string{m.file: string(manifesttest.Mutate(t, content, now.Replace(m.old), now.Replace(m.new)))}), m.check...)
				if err != nil {
					t.Fatal(err)
				}
				blamed := m.in
				if blamed == "" {
					blamed = m.file
				}
				if !slices.ContainsFunc(found, func(v check.Violation) bool { return v.Rule == rule.Name && v.File == blamed }) {
					t.Errorf("%s with %q: got %v, expected a violation in %s", m.file, m.new, found, blamed)
				}
			}
			if changed == 0 {
				t.Error("no mutation of the checkout is rejected by it")
			}
		})
	}
	files, err := os.ReadDir("testdata/rules")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !slices.Contains(known, strings.TrimSuffix(file.Name(), ".txtar")) {
			t.Errorf("testdata/rules/%s is of no rule", file.Name())
		}
	}
}

// What is wrong in base is one violation that names the overlays and variants
// which have it; all violations are there, and sorted.
func TestCheckMerges(t *testing.T) {
	root := manifesttest.Checkout(t).Root()
	files := map[string]string{}
	for _, m := range mutations {
		if !slices.Contains([]string{"selector", "drain-grace", "argocd-project"}, m.rule) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, m.file))
		if err != nil {
			t.Fatal(err)
		}
		files[m.file] = string(manifesttest.Mutate(t, content, m.old, m.new))
	}
	found, err := check.Checkout(manifesttest.Clone(t, files))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range found {
		got = append(got, v.File+" "+v.Rule)
		for _, want := range manifesttest.All(t) {
			if v.Rule == "drain-grace" && !slices.Contains(v.Overlays, want) {
				t.Errorf("%s in %v, expected in %s", v.Rule, v.Overlays, want)
			}
		}
	}
	for _, want := range []string{"argocd/project.yaml argocd-project", "base/echo-server/deployment.yaml drain-grace", "base/echo-server/service.yaml selector"} {
		if !slices.Contains(got, want) {
			t.Errorf("got %v, expected %s among them", got, want)
		}
	}
	if !slices.IsSortedFunc(found, func(a, b check.Violation) int { return strings.Compare(a.File, b.File) }) {
		t.Errorf("not sorted by file: %v", got)
	}
}

// What a judge of another kind, such as an API server, refuses is a violation
// with the file of the object.
func TestCheckWith(t *testing.T) {
	rule := check.Rule{Name: "api-server", Remedy: "mend it"}
	found, err := check.With(manifesttest.Checkout(t), rule, "dns", func(o *unstructured.Unstructured) error {
		if o.GetKind() != "Service" {
			return nil
		}
		return errors.New("refused")
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []check.Violation{{Rule: "api-server", File: "base/echo-server/service.yaml", Object: "Service/echo-server", Overlays: []string{"dns"}, Text: "refused", Remedy: "mend it"}}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
}
