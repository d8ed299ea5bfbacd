package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// textEdit is a change of a file of the tree. An empty old text creates the file.
type textEdit struct{ file, old, new string }

// apply makes the edits in a tree. Each must change something.
func apply(t *testing.T, dir string, edits []textEdit) {
	t.Helper()
	for _, e := range edits {
		file := filepath.Join(dir, e.file)
		if e.old == "" {
			if err := os.WriteFile(file, []byte(e.new), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), e.old) || e.old == e.new {
			t.Fatalf("%s has no %q to change", e.file, e.old)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(content), e.old, e.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

var ruleNamed = regexp.MustCompile(`(?m)^\S.*\(([a-z-]+)\)$`)

// Inputs after public reports: what is changed in the tree, the overlay that is checked,
// and the rules that are violated. None means that the input is right.
func TestCheckCases(t *testing.T) {
	const (
		client   = "base/echo-client/deployment.yaml"
		server   = "base/echo-server/deployment.yaml"
		service  = "base/echo-server/service.yaml"
		dns      = "overlays/dns/echo-client.patch.yaml"
		k8s      = "overlays/k8s-api/echo-client.patch.yaml"
		envoy    = "overlays/envoy/envoy/envoy.yaml"
		l4       = "overlays/l4/kustomization.yaml"
		meshed   = "overlays/istio/namespace.patch.yaml"
		dnsGoal  = "--target=dns:///echo-server:8080"
		k8sGoal  = "k8s:///echo-server:grpc"
		listed   = "  - ../../base\n"
		clientAt = "          resources:\n"
		variable = "          env:\n"
	)
	to := func(file, old, with string) []textEdit { return []textEdit{{file, old, with}} }
	dnsTo := func(target string) []textEdit { return to(dns, dnsGoal, "--target="+target) }
	for _, tt := range []struct {
		name, overlay string
		edits         []textEdit
		want          []string
	}{
		// kuberesolver#13: the resolver knows all pods, and gRPC takes pick_first.
		{"no policy over EndpointSlices", "k8s-api", to(k8s, "            - --lb-policy=round_robin\n", ""), []string{"client-policy"}},
		{"pick_first over EndpointSlices", "k8s-api", to(k8s, "--lb-policy=round_robin", "--lb-policy=pick_first"), []string{"client-policy"}},
		{"pick_first over a headless name", "dns", to(dns, "--lb-policy=round_robin", "--lb-policy=pick_first"), []string{"client-policy", "entry-effect"}},
		{"a policy that is misspelt", "dns", to(dns, "--lb-policy=round_robin", "--lb-policy=round-robin"), []string{"client-policy"}},
		// grpc-go#6100, bb-storage#236: another policy that chooses.
		{"weighted_round_robin", "dns", to(dns, "--lb-policy=round_robin", "--lb-policy=weighted_round_robin"), nil},
		{"least_request", "dns", to(dns, "--lb-policy=round_robin", "--lb-policy=least_request_experimental"), nil},
		{"peak_ewma", "dns", to(dns, "--lb-policy=round_robin", "--lb-policy=peak_ewma_experimental"), nil},
		{"a service config", "dns", to(dns, "- --lb-policy=round_robin", `- '--service-config={"loadBalancingConfig":[{"round_robin":{}}]}'`), nil},
		{"a service config of pick_first", "dns", to(dns, "- --lb-policy=round_robin", `- '--service-config={"loadBalancingConfig":[{"pick_first":{}}]}'`), []string{"client-policy"}},
		{"the old field of a service config", "dns", to(dns, "- --lb-policy=round_robin", `- '--service-config={"loadBalancingPolicy":"ROUND_ROBIN"}'`), nil},
		{"weighted_round_robin over a cluster IP", "dns", []textEdit{{dns, "--lb-policy=round_robin", "--lb-policy=weighted_round_robin"}, {"overlays/dns/kustomization.yaml", "components:\n  - ../../base/components/headless\n", ""}}, []string{"service-kind"}},
		// aws-app-mesh-controller#427, contour#152, gateway#8648: what Envoy does upstream.
		{"LOGICAL_DNS", "envoy", to(envoy, "      cluster_type:\n        name: envoy.clusters.dns\n        typed_config:\n          \"@type\": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster\n          dns_lookup_family: V4_PREFERRED\n", "      type: LOGICAL_DNS\n      x:\n        y:\n"), []string{"envoy-discovery"}},
		{"all addresses in one endpoint", "envoy", to(envoy, "          dns_refresh_rate: 1s\n", "          all_addresses_in_single_endpoint: true\n"), []string{"envoy-discovery"}},
		{"HTTP/1.1 to the servers", "envoy", to(envoy, "explicit_http_config:\n            http2_protocol_options:\n", "explicit_http_config:\n            http_protocol_options:\n"), []string{"envoy-protocol"}},
		{"HTTP/2 as the clients speak it", "envoy", to(envoy, "        explicit_http_config:\n            http2_protocol_options:", "        use_downstream_protocol_config:\n            http2_protocol_options:"), nil},
		{"Envoy for IPv6 alone", "envoy", []textEdit{{envoy, `"::", ipv4_compat: true, port_value`, `"::", port_value`}, {envoy, "V4_PREFERRED", "V6_ONLY"}}, nil},
		// istio#32746: injection by a revision.
		{"a revision", "istio", to(meshed, "istio-injection: enabled", "istio.io/rev: stable"), nil},
		{"a revision and a headless Service", "istio", []textEdit{{meshed, "istio-injection: enabled", "istio.io/rev: stable"}, {"overlays/istio/kustomization.yaml", "patches:", "components:\n  - ../../base/components/headless\npatches:"}}, []string{"service-kind"}},
		{"a label that injects and a headless Service", "istio", to("overlays/istio/kustomization.yaml", "patches:", "components:\n  - ../../base/components/headless\npatches:"), []string{"service-kind"}},
		// llm-d-infra#58: a custom resource.
		{"a DestinationRule", "istio", []textEdit{{"overlays/istio/rule.yaml", "", "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: echo-server}\nspec: {host: echo-server, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}\n"}, {"overlays/istio/kustomization.yaml", listed, listed + "  - rule.yaml\n"}}, nil},
		// spring-boot#26469, ravel#1632: preStop is part of the grace period.
		{"preStop takes the drain's time", "l4", to(server, "          ports:\n            - name: grpc\n", "          lifecycle: {preStop: {sleep: {seconds: 10}}}\n          ports:\n            - name: grpc\n"), []string{"drain-grace"}},
		{"preStop by a command", "l4", to(server, "          ports:\n            - name: grpc\n", "          lifecycle: {preStop: {exec: {command: [sh, -c, 'sleep 10']}}}\n          ports:\n            - name: grpc\n"), []string{"drain-grace"}},
		{"preStop that leaves enough time", "l4", to(server, "          ports:\n            - name: grpc\n", "          lifecycle: {preStop: {sleep: {seconds: 3}}}\n          ports:\n            - name: grpc\n"), nil},
		// kube-linter#1241, #705: references by env and envFrom.
		{"missing references", "l4", []textEdit{
			{client, clientAt, "          envFrom: [{configMapRef: {name: no-such-map}}, {secretRef: {name: no-such-secret}}]\n" + clientAt},
			{client, variable, variable + "            - {name: X, valueFrom: {configMapKeyRef: {name: no-such-map-either, key: x}}}\n"},
		}, []string{"reference", "reference", "reference"}},
		{"missing references that are optional", "l4", to(client, clientAt, "          envFrom: [{configMapRef: {name: no-such-map, optional: true}}]\n"+clientAt), nil},
		{"a variable of a rendered ConfigMap", "l4", []textEdit{
			{client, clientAt, "          envFrom: [{configMapRef: {name: load}}]\n" + clientAt}, {client, dnsGoal, "--target=$(GOAL)"},
			{l4, listed, listed + "configMapGenerator: [{name: load, literals: ['GOAL=dns:///echo-server:8080']}]\n"},
		}, nil},
		{"the ConfigMap that every namespace has", "l4", to(client, "      containers:\n", "      volumes: [{name: ca, configMap: {name: kube-root-ca.crt}}]\n      containers:\n"), nil},
		// kubernetes#101137: variables.
		{"a text that is no variable", "l4", to(client, "            - "+dnsGoal+"\n", "            - "+dnsGoal+"\n            - --message=cost $$(USD)\n"), nil},
		{"a variable that is not set", "l4", to(client, "            - "+dnsGoal+"\n", "            - "+dnsGoal+"\n            - --message=cost $(USD)\n"), []string{"variable"}},
		{"a variable of a Service", "l4", to(client, dnsGoal, "--target=dns:///$(ECHO_SERVER_SERVICE_HOST):$(ECHO_SERVER_SERVICE_PORT)"), nil},
		{"a variable of a headless Service, which has none", "dns", to(dns, dnsGoal, "--target=dns:///$(ECHO_SERVER_SERVICE_HOST):8080"), []string{"client-target", "variable"}},
		{"the target in a variable", "l4", []textEdit{{client, dnsGoal, "--target=$(ADDR)"}, {client, variable, variable + "            - {name: ADDR, value: 'dns:///echo-server:8080'}\n"}}, nil},
		{"the target in a variable that leads elsewhere", "l4", []textEdit{{client, dnsGoal, "--target=$(ADDR)"}, {client, variable, variable + "            - {name: ADDR, value: 'dns:///echo:8080'}\n"}}, []string{"client-target"}},
		// skipper#1074, pulse#55: the Service's port and the pods'.
		{"EndpointSlices, a Service port of its own, by name", "k8s-api", to(service, "port: 8080", "port: 80"), nil},
		{"EndpointSlices, a Service port of its own, by the pods' number", "k8s-api", []textEdit{{service, "port: 8080", "port: 80"}, {k8s, k8sGoal, "k8s:///echo-server:8080"}}, nil},
		{"EndpointSlices, a Service port of its own, by its number", "k8s-api", []textEdit{{service, "port: 8080", "port: 80"}, {k8s, k8sGoal, "k8s:///echo-server:80"}}, []string{"client-target"}},
		{"EndpointSlices, no port", "k8s-api", to(k8s, k8sGoal, "k8s:///echo-server"), nil},
		{"EndpointSlices, with the namespace", "k8s-api", to(k8s, k8sGoal, "k8s:///echo-server.grpc-lb-k8s-api:grpc"), nil},
		{"EndpointSlices, a whole name, which the resolver refuses", "k8s-api", to(k8s, k8sGoal, "k8s:///echo-server.grpc-lb-k8s-api.svc:grpc"), []string{"client-target"}},
		{"a cluster IP, a Service port of its own", "l4", []textEdit{{service, "port: 8080", "port: 80"}, {client, dnsGoal, "--target=dns:///echo-server:80"}}, nil},
		{"a headless name, the Service's port", "dns", []textEdit{{service, "port: 8080", "port: 80"}, {dns, dnsGoal, "--target=dns:///echo-server:80"}}, []string{"client-target"}},
		// cyub/grpc-examples, wandersonwhcr/k8s-examples: forms of a target.
		{"Envoy by the whole name", "envoy", to(envoy, "address: echo-server,", "address: echo-server.grpc-lb-envoy.svc.cluster.local,"), nil},
		{"a whole name", "dns", dnsTo("dns:///echo-server.grpc-lb-dns.svc.cluster.local:8080"), nil},
		{"a whole name with its last dot", "dns", dnsTo("dns:///echo-server.grpc-lb-dns.svc.cluster.local.:8080"), nil},
		{"a whole name of another cluster domain", "dns", dnsTo("dns:///echo-server.grpc-lb-dns.svc.corp.example:8080"), nil},
		{"a short name with a last dot", "dns", dnsTo("dns:///echo-server.:8080"), []string{"client-target"}},
		{"no scheme, with the namespace", "dns", dnsTo("echo-server.grpc-lb-dns.svc:8080"), nil},
		{"no scheme", "dns", dnsTo("echo-server:8080"), nil},
		{"dns: without slashes", "dns", dnsTo("dns:echo-server:8080"), nil},
		{"no port where DNS needs one", "dns", dnsTo("dns:///echo-server"), []string{"client-target"}},
		{"passthrough to a cluster IP", "l4", to(client, dnsGoal, "--target=passthrough:///echo-server:8080"), nil},
		{"passthrough to a headless name", "dns", dnsTo("passthrough:///echo-server:8080"), []string{"client-policy"}},
		{"flags and values apart", "l4", to(client, "            - "+dnsGoal+"\n            - --lb-policy=pick_first\n", "            - --target\n            - dns:///echo-server:8080\n            - --lb-policy\n            - pick_first\n"), nil},
		// lws: one patch of two targets.
		{"a patch of two targets, the second misspelt", "l4", []textEdit{
			{"overlays/l4/spread.json.patch.yaml", "", "# Keep a longer history of both.\n- op: add\n  path: /spec/revisionHistoryLimit\n  value: 3\n"},
			{l4, listed, listed + "patches:\n  - {path: spread.json.patch.yaml, target: {kind: Deployment, name: echo-server}}\n  - {path: spread.json.patch.yaml, target: {kind: Deployment, name: echo-clinet}}\n"},
		}, []string{"entry-effect"}},
		{"a patch of two targets, the first misspelt", "l4", []textEdit{
			{"overlays/l4/spread.json.patch.yaml", "", "# Keep a longer history of both.\n- op: add\n  path: /spec/revisionHistoryLimit\n  value: 3\n"},
			{l4, listed, listed + "patches:\n  - {path: spread.json.patch.yaml, target: {kind: Deployment, name: echo-clinet}}\n  - {path: spread.json.patch.yaml, target: {kind: Deployment, name: echo-server}}\n"},
		}, []string{"entry-effect"}},
		// Mistakes of every day.
		{"a file that no kustomization lists", "l4", []textEdit{{"overlays/l4/extra.yaml", "", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"}}, []string{"unlisted-file"}},
		{"a memory limit below the request", "l4", to(server, "            limits:\n              memory: ", "            limits:\n              memory: 1Mi # "), []string{"resource-limits"}},
		{"no replica", "l4", to(server, "replicas: 3", "replicas: 0"), []string{"replicas"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := copyOfManifests(t)
			apply(t, dir, tt.edits)
			code, stdout, stderr := call{dir: dir, args: []string{"check", tt.overlay}}.run(t)
			var got []string
			for _, match := range ruleNamed.FindAllStringSubmatch(stdout, -1) {
				got = append(got, match[1])
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("rules (-want +got):\n%s\n%s", diff, stdout)
			}
			if want := min(len(tt.want), 1); code != want {
				t.Errorf("exit code %d, want %d; stderr:\n%s", code, want, stderr)
			}
		})
	}
}

// kustomize reads three names (flux kustomize-controller#737, kustomize#765).
func TestKustomizationNames(t *testing.T) {
	for _, name := range []string{"kustomization.yml", "Kustomization"} {
		dir := copyOfManifests(t)
		if err := os.Rename(filepath.Join(dir, "overlays/l4/kustomization.yaml"), filepath.Join(dir, "overlays/l4", name)); err != nil {
			t.Fatal(err)
		}
		if code, stdout, stderr := (call{dir: dir, args: []string{"check", "l4"}}).run(t); code != 0 {
			t.Errorf("%s: exit code %d: %s%s", name, code, stdout, stderr)
		}
		if code, stdout, _ := (call{dir: dir, args: []string{"render", "l4"}}).run(t); code != 0 || !strings.HasPrefix(stdout, "apiVersion: v1\n") {
			t.Errorf("%s: render ends with %d: %.80s", name, code, stdout)
		}
	}
}

// A pod that neither a Deployment nor a DaemonSet makes is judged like theirs.
func TestOtherWorkloads(t *testing.T) {
	dir := copyOfManifests(t)
	apply(t, dir, []textEdit{
		{"overlays/l4/warm.yaml", "", "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: warm}\nspec:\n  schedule: '*/5 * * * *'\n  jobTemplate:\n    spec:\n      template:\n        spec:\n" +
			"          hostNetwork: true\n          restartPolicy: Never\n          containers: [{name: warm, image: fullstorydev/grpcurl, securityContext: {privileged: true}, args: [$(NOPE)]}]\n"},
		{"overlays/l4/kustomization.yaml", "  - ../../base\n", "  - ../../base\n  - warm.yaml\n"},
	})
	code, stdout, _ := call{dir: dir, args: []string{"check", "l4"}}.run(t)
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	for _, rule := range []string{"pod-security", "image-pinned", "variable", "resource-requests"} {
		if !strings.Contains(stdout, "CronJob/warm") || !strings.Contains(stdout, "("+rule+")") {
			t.Errorf("no violation of %s:\n%s", rule, stdout)
		}
	}
	if strings.Contains(stdout, "(selector)") {
		t.Errorf("a CronJob needs no selector:\n%s", stdout)
	}
}

// Fields that Argo CD's Application has are known (argo-cd#10300).
func TestApplicationFields(t *testing.T) {
	for _, e := range []textEdit{
		{"argocd/l4.yaml", "  project: grpc-lb\n", "  project: grpc-lb\n  revisionHistoryLimit: 3\n"},
		{"argocd/l4.yaml", "    path: overlays/l4\n", "    path: overlays/l4\n    kustomize: {images: ['ghcr.io/grpc-lb/echo-server:v0.1.1']}\n"},
	} {
		dir := copyOfManifests(t)
		apply(t, dir, []textEdit{e})
		if code, stdout, stderr := (call{dir: dir, args: []string{"check"}}).run(t); code != 0 {
			t.Errorf("%s: exit code %d: %s%s", e.new, code, stdout, stderr)
		}
	}
}

// Where nothing renders, the one reason comes first, and nothing is said of objects
// that are not there.
func TestBrokenBaseAlone(t *testing.T) {
	dir := copyOfManifests(t)
	apply(t, dir, []textEdit{{"base/kustomization.yaml", "echo-client/deployment.yaml", "echo-client/deploymnt.yaml"}})
	code, stdout, _ := call{dir: dir, args: []string{"check"}}.run(t)
	if code != 1 || strings.Contains(stdout, "argocd/") || !strings.HasPrefix(stdout, "base/echo-client/deploymnt.yaml: no such file or directory") {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
}

// House rules can be left out; rules about balancing cannot.
func TestNoHouse(t *testing.T) {
	dir := copyOfManifests(t)
	apply(t, dir, []textEdit{
		{"base/echo-server/service.yaml", "appProtocol: kubernetes.io/h2c", "appProtocol: grpc"},
		{"overlays/dns/echo-client.patch.yaml", "--lb-policy=round_robin", "--lb-policy=pick_first"},
	})
	_, stdout, _ := call{dir: dir, args: []string{"check", "dns"}}.run(t)
	if !strings.Contains(stdout, "(service-port)") || !strings.Contains(stdout, "3 violations, 1 of balancing and 2 of the house") {
		t.Errorf("with house rules:\n%s", stdout)
	}
	code, stdout, _ := call{dir: dir, args: []string{"check", "dns", "--no-house"}}.run(t)
	if code != 1 || strings.Contains(stdout, "(service-port)") || !strings.Contains(stdout, "(client-policy)") {
		t.Errorf("without house rules: exit code %d:\n%s", code, stdout)
	}
}

// lws#866: the base still warns of commonLabels, and the difference is shown.
func TestDiffOfABaseThatWarns(t *testing.T) {
	dir := copyOfManifests(t)
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.email=a@b", "-c", "user.name=a"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	now := []textEdit{{"base/kustomization.yaml", "labels:\n  - includeTemplates: true\n    pairs:\n      app", "commonLabels:\n  app"}}
	apply(t, dir, now)
	git("init", "-q", "-b", "main", ".")
	git("add", "-A")
	git("commit", "-qm", "base with commonLabels")
	git("checkout", "-qb", "migrate")
	apply(t, dir, []textEdit{{"base/kustomization.yaml", now[0].new, now[0].old}})
	git("commit", "-qam", "labels")
	code, stdout, stderr := call{dir: dir, args: []string{"diff", "l4", "--base", "main", "--gate", "immutable"}}.run(t)
	if code != 1 || !strings.Contains(stdout, "l4, before: base/kustomization.yaml: Warning: 'commonLabels' is deprecated") || !strings.Contains(stderr, "immutable: l4: Deployment") {
		t.Errorf("exit code %d:\n%.600s\n%s", code, stdout, stderr)
	}
}
