package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/inspect"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
)

// wrongService is a service of three servers and one client of another's making. SERVER,
// CLIENT and ENVOY stand for images, SHOP for the namespace.
const wrongService = `
apiVersion: v1
kind: Namespace
metadata: {name: SHOP}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: SHOP}
spec:
  selector: {app: cart}
  ports: [{name: grpc, port: 8080, targetPort: grpc}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: SHOP}
spec:
  replicas: 3
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: cart
          image: SERVER
          args: [--drain-delay=0s]
          ports: [{name: grpc, containerPort: 8080}]
          readinessProbe: {grpc: {port: 8080}, periodSeconds: 1}
          resources: {requests: {cpu: 1m, memory: 8Mi}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: SHOP}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: CLIENT
          args: [--target=dns:///cart:8080]
          env: [{name: RATE, value: "20"}]
          resources: {requests: {cpu: 1m, memory: 8Mi}}
`

const wrongEnvoy = `
---
apiVersion: v1
kind: Service
metadata: {name: proxy, namespace: SHOP}
spec: {selector: {app: proxy}, ports: [{name: grpc, port: 8080}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: proxy, namespace: SHOP}
data:
  envoy.yaml: |
    admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
    static_resources:
      listeners:
        - address: {socket_address: {address: 0.0.0.0, port_value: 8080}}
          filter_chains:
            - filters:
                - name: http
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                    stat_prefix: in
                    codec_type: HTTP2
                    route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: cart}}]}]}
                    http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
      clusters:
        - name: cart
          type: STRICT_DNS
          dns_lookup_family: V4_ONLY
          lb_policy: ROUND_ROBIN
          http2_protocol_options: {}
          load_assignment: {cluster_name: cart, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: cart, port_value: 8080}}}}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: proxy, namespace: SHOP}
spec:
  selector: {matchLabels: {app: proxy}}
  template:
    metadata: {labels: {app: proxy}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: envoy
          image: ENVOY
          args: [--config-path, /etc/envoy/envoy.yaml, --concurrency, "1"]
          ports: [{name: grpc, containerPort: 8080}]
          readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
          resources: {requests: {cpu: 1m, memory: 8Mi}}
          volumeMounts: [{name: config, mountPath: /etc/envoy}]
      volumes: [{name: config, configMap: {name: proxy}}]
`

// wrongCase is a service that is wrong on purpose, or right.
type wrongCase struct {
	name, more string   // objects besides
	edits      []string // of the service, in pairs: what is replaced, and by what
	verdict    string
	// unmeasured says why calls cannot be counted, or is "" if they are.
	unmeasured string
	findings   []string
}

// checkInspect makes services that are wrong on purpose. `lab inspect` names the fault of
// each, where calls can be counted they are spread as it says, `lab check` says the same
// of the manifests, and a patch that it prints removes the finding.
func checkInspect(t *testing.T, f *foreign) {
	t.Helper()
	overlays := []string{"l4", "envoy", "istio"}
	if code, _, stderr := (call{cache: f.cache, args: []string{"run", "--only", strings.Join(overlays, ","), "--keep", "--retries", "0"}}).run(t); code > 1 {
		t.Fatalf("lab run: exit code %d:\n%s", code, stderr) // it puts the images onto the nodes, and Istio into the cluster
	}
	client, err := kube.New(f.config)
	if err != nil {
		t.Fatal(err)
	}
	image := func(namespace, deployment string) string {
		d, err := client.Typed.AppsV1().Deployments(namespace).Get(t.Context(), deployment, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d.Spec.Template.Spec.Containers[0].Image
	}
	clientImage := image("grpc-lb-l4", "echo-client")
	images := strings.NewReplacer("SERVER", image("grpc-lb-l4", "echo-server"), "CLIENT", clientImage, "ENVOY", image("grpc-lb-envoy", "envoy"))
	for _, name := range overlays {
		if err := client.Typed.CoreV1().Namespaces().Delete(t.Context(), "grpc-lb-"+name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		f.waitGone(t, "grpc-lb-"+name)
	}
	for _, c := range wrongCases() {
		t.Run(c.name, func(t *testing.T) { c.run(t, f, client, images) })
	}
	t.Run("measure", func(t *testing.T) { checkMeasure(t, f, client, images, clientImage) })
}

func wrongCases() []wrongCase {
	const (
		spec, goal = "spec:\n  selector: {app: cart}\n", "--target=dns:///cart:8080"
		headless   = "spec:\n  clusterIP: None\n  selector: {app: cart}\n"
		balances   = goal + ", --lb-policy=round_robin"
		probe      = "          readinessProbe: {grpc: {port: 8080}, periodSeconds: 1}\n          resources"
		space      = "metadata: {name: SHOP}"
		injected   = "metadata: {name: SHOP, labels: {istio-injection: enabled}}"
		port       = "ports: [{name: grpc, port: 8080, targetPort: grpc}]"
	)
	// The client's node has a server.
	besideServer := []string{"    metadata: {labels: {app: web}}\n    spec:\n", "    metadata: {labels: {app: web}}\n    spec:\n" +
		"      affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: cart}}}]}}\n"}
	with := func(field string) []string {
		return []string{spec, "spec:\n  " + field + "\n  selector: {app: cart}\n"}
	}
	right := func(more ...string) []string { return append([]string{spec, headless, goal, balances}, more...) }
	meshed := func(more ...string) []string { return append([]string{space, injected}, more...) }
	proxied := []string{spec, headless, goal, "--target=dns:///proxy:8080"}
	return []wrongCase{
		{name: "balanced", edits: right(), verdict: "balanced"},
		{name: "cluster-ip", verdict: "pinned", findings: []string{"cluster-ip"}},
		{name: "service-kind", edits: []string{goal, balances}, verdict: "pinned", findings: []string{"service-kind"}},
		{name: "pick-first", edits: []string{spec, headless, goal, goal + ", --lb-policy=pick_first"}, verdict: "pinned", findings: []string{"client-policy"}},
		{name: "passthrough", edits: []string{spec, headless, goal, "--target=passthrough:///cart:8080, --lb-policy=round_robin"}, verdict: "pinned", findings: []string{"client-policy"}},
		{name: "short-name", edits: []string{spec, headless, goal, "--target=dns:///till:8080, --lb-policy=round_robin"}, more: "\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: SHOP-2}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: till, namespace: SHOP-2}\nspec: {clusterIP: None, selector: {app: till}, ports: [{name: grpc, port: 8080}]}\n",
			verdict: "unreachable", unmeasured: "no call succeeds", findings: []string{"client-target", "no-endpoints"}},
		{name: "headless-port", edits: []string{spec, headless, "port: 8080, targetPort: grpc", "port: 80, targetPort: grpc", goal, "--target=dns:///cart:80, --lb-policy=round_robin"}, verdict: "unreachable", unmeasured: "no call succeeds", findings: []string{"client-target"}},
		{name: "session-affinity", edits: with("sessionAffinity: ClientIP"), verdict: "pinned", findings: []string{"cluster-ip", "session-affinity"}},
		{name: "local", edits: append(with("internalTrafficPolicy: Local"), besideServer...), verdict: "pinned", findings: []string{"cluster-ip", "traffic-policy"}},
		{name: "same-node", edits: with("trafficDistribution: PreferSameNode"), verdict: "pinned", findings: []string{"cluster-ip", "traffic-policy"}},
		{name: "not-ready", edits: append(with("publishNotReadyAddresses: true\n  clusterIP: None"), goal, balances), verdict: "balanced", findings: []string{"not-ready-addresses"}},
		{name: "readiness", edits: right(probe, "          resources"), verdict: "balanced", findings: []string{"readiness"}},
		{name: "unready", edits: right(), more: "\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: ill, namespace: SHOP, labels: {app: cart}}\nspec: {terminationGracePeriodSeconds: 1, containers: [{name: cart, image: SERVER, ports: [{name: grpc, containerPort: 8080}], readinessProbe: {grpc: {port: 8080, service: nope}, periodSeconds: 1}}]}\n",
			verdict: "balanced", findings: []string{"unready-endpoints"}},
		{name: "no-server", edits: []string{"replicas: 3", "replicas: 0"}, verdict: "pinned", unmeasured: "no call succeeds", findings: []string{"cluster-ip", "no-endpoints"}},
		{name: "budget", edits: right(), more: "\n---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: cart, namespace: SHOP}\nspec: {minAvailable: 3, selector: {matchLabels: {app: cart}}}\n",
			verdict: "balanced", findings: []string{"disruption-budget"}},
		{name: "autoscaler", more: "\n---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: cart, namespace: SHOP}\nspec: {minReplicas: 3, maxReplicas: 4, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: cart}}\n",
			verdict: "pinned", findings: []string{"autoscaler-pinned", "cluster-ip"}},
		// The built-in cluster does not enforce NetworkPolicies, so the calls go on.
		{name: "network-policy", edits: right(), more: "\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: cart, namespace: SHOP}\nspec: {podSelector: {matchLabels: {app: cart}}, ingress: [{from: [{podSelector: {matchLabels: {app: other}}}]}]}\n",
			verdict: "balanced", findings: []string{"network-policy"}},
		{name: "envoy", more: wrongEnvoy, edits: proxied, verdict: "balanced"},
		{name: "logical-dns", more: wrongEnvoy, edits: append([]string{"STRICT_DNS", "LOGICAL_DNS"}, proxied...), verdict: "pinned", findings: []string{"envoy-discovery"}},
		{name: "http1", more: wrongEnvoy, edits: append([]string{"          http2_protocol_options: {}\n", ""}, proxied...), verdict: "unreachable", unmeasured: "no call succeeds", findings: []string{"envoy-protocol"}},
		{name: "istio", edits: meshed(), verdict: "balanced"},
		{name: "istio-headless", edits: meshed(spec, headless), verdict: "pinned", findings: []string{"service-kind"}},
		{name: "istio-tcp", edits: meshed(port, "ports: [{name: tcp-grpc, appProtocol: tcp, port: 8080, targetPort: grpc}]"), verdict: "pinned", unmeasured: "Envoy counts no requests of TCP", findings: []string{"mesh-protocol"}},
		{name: "istio-opt-out", edits: meshed("metadata: {labels: {app: web}}", `metadata: {labels: {app: web, sidecar.istio.io/inject: "false"}}`), verdict: "pinned", findings: []string{"cluster-ip"}},
		{name: "istio-http", edits: meshed(port, "ports: [{name: http, port: 8080, targetPort: grpc}]"), verdict: "unreachable", unmeasured: "no call succeeds", findings: []string{"mesh-protocol"}},
		{name: "istio-unknown", edits: meshed(port, "ports: [{name: grpc, appProtocol: h2c, port: 8080, targetPort: grpc}]"), verdict: "balanced"},
		{name: "istio-excluded", edits: meshed("metadata: {labels: {app: web}}", `metadata: {labels: {app: web}, annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: "8080"}}`), verdict: "pinned", findings: []string{"mesh-bypass"}},
		{name: "istio-passthrough", edits: meshed(), more: "\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: cart, namespace: SHOP}\nspec: {host: cart, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}}\n",
			verdict: "pinned", findings: []string{"mesh-bypass"}},
		{name: "istio-subset", edits: meshed(), more: "\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: cart, namespace: SHOP}\nspec: {host: cart, subsets: [{name: v2, labels: {version: v2}}]}\n",
			verdict: "balanced", findings: []string{"destination-subset"}},
	}
}

// liveOnly are the findings that manifests cannot show.
var liveOnly = []string{"no-endpoints", "unready-endpoints", "partial-view"}

func (c wrongCase) manifests(t *testing.T, ns string, images *strings.Replacer) string {
	t.Helper()
	text := wrongService + c.more
	for i := 0; i < len(c.edits); i += 2 {
		if !strings.Contains(text, c.edits[i]) {
			t.Fatalf("the service has no %q", c.edits[i])
		}
		text = strings.Replace(text, c.edits[i], c.edits[i+1], 1)
	}
	return images.Replace(strings.ReplaceAll(text, "SHOP", ns))
}

func (c wrongCase) run(t *testing.T, f *foreign, client *kube.Client, images *strings.Replacer) {
	t.Helper()
	ns := "lab-wrong-" + c.name
	text := c.manifests(t, ns, images)
	c.check(t, text)
	applyInTurn(t, client, ns, text)
	s := c.wait(t, f, ns, func(s inspect.Service) string {
		measured := c.unmeasured == ""
		if found := names(s); !slices.Equal(found, c.findings) || string(s.ByObjects) != c.verdict || s.Measured != measured || measured && s.Verdict != s.ByObjects {
			return fmt.Sprintf("%s by objects, %s by traffic (%s), findings %v; want %s, measured %t, findings %v", s.ByObjects, s.Verdict, s.Traffic, found, c.verdict, measured, c.findings)
		}
		return ""
	})
	how := s.Traffic
	if c.unmeasured != "" {
		how = "not measured: " + c.unmeasured
	}
	t.Logf("%s by objects; by traffic: %s", s.ByObjects, how)
	for _, finding := range s.Findings {
		if finding.Patch == "" {
			continue
		}
		patch := exec.Command("sh", "-c", `kubectl() { "$LAB" kubectl "$@"; }; `+finding.Patch)
		patch.Dir, patch.Env = root, append(os.Environ(), "LAB="+lab, "XDG_CACHE_HOME="+f.cache)
		if out, err := patch.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", finding.Patch, err, out)
		}
		c.wait(t, f, ns, func(s inspect.Service) string {
			if slices.Contains(names(s), finding.Name) {
				return fmt.Sprintf("finding %s is left after %s", finding.Name, finding.Patch)
			}
			return ""
		})
	}
}

// check judges the manifests as `lab check` does, and wants what inspect must say.
func (c wrongCase) check(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call{args: []string{"check", "-f", file, "-o", "json"}}.run(t)
	var found struct {
		Clients    []struct{ Verdict string }
		Violations []struct{ Rule string }
	}
	if err := json.Unmarshal([]byte(stdout), &found); err != nil || len(found.Clients) != 1 {
		t.Fatalf("check: exit code %d: %.500s%s", code, stdout, stderr)
	}
	var rules []string
	for _, v := range found.Violations {
		if slices.ContainsFunc(balance.Kinds, func(k balance.Kind) bool { return k.Name == v.Rule }) {
			rules = append(rules, v.Rule)
		}
	}
	slices.Sort(rules)
	want := slices.DeleteFunc(slices.Clone(c.findings), func(name string) bool { return slices.Contains(liveOnly, name) })
	if rules = slices.Compact(rules); found.Clients[0].Verdict != c.verdict || !slices.Equal(rules, want) {
		t.Errorf("check says %s, findings %v; want %s, findings %v, as inspect", found.Clients[0].Verdict, rules, c.verdict, want)
	}
}

// applyInTurn applies the servers, waits for them, and applies the client: a client that
// starts earlier keeps the addresses of the servers that were ready. It deletes the
// namespaces when the test ends.
func applyInTurn(t *testing.T, client *kube.Client, ns, text string) {
	t.Helper()
	objects, err := manifest.Unstructured([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, o := range objects {
			if o.GetKind() == "Namespace" {
				if err := client.Typed.CoreV1().Namespaces().Delete(context.WithoutCancel(t.Context()), o.GetName(), metav1.DeleteOptions{}); err != nil {
					t.Error(err)
				}
			}
		}
	})
	web := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetName() == "web" })
	if err := client.Apply(t.Context(), slices.Concat(objects[:web], objects[web+1:])...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Minute, fmt.Errorf("not in 2 minutes"))
	defer cancel()
	if err := poll.Until(ctx, 200*time.Millisecond, func(ctx context.Context) (string, error) {
		all, err := client.Typed.AppsV1().Deployments(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		for _, d := range all.Items {
			if d.Status.ObservedGeneration < d.Generation || d.Status.ReadyReplicas != *d.Spec.Replicas {
				return fmt.Sprintf("%s has %d ready pods of %d", d.Name, d.Status.ReadyReplicas, *d.Spec.Replicas), nil
			}
		}
		return "", nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := client.Apply(t.Context(), objects[web]); err != nil {
		t.Fatal(err)
	}
}

// names returns the names of the findings that are no advice, each once.
func names(s inspect.Service) []string {
	var all []string
	for _, fault := range s.Faults() {
		all = append(all, fault.Name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// wait inspects the service cart until nothing is missing. Its exit code is 1 if there
// are findings, and 0 or 4 if there are none.
func (c wrongCase) wait(t *testing.T, f *foreign, ns string, missing func(inspect.Service) string) inspect.Service {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Minute, fmt.Errorf("not in 2 minutes"))
	defer cancel()
	args := []string{"inspect", "-n", ns, "-o", "json", "--for", "2s"}
	if c.name == "short-name" { // another namespace has the Service
		args = []string{"inspect", "-A", "-o", "json", "--for", "2s"}
	}
	var s inspect.Service
	if err := poll.Until(ctx, time.Second, func(context.Context) (string, error) {
		code, stdout, stderr := call{cache: f.cache, args: args}.run(t)
		var found struct{ Services []inspect.Service }
		if err := json.Unmarshal([]byte(stdout), &found); err != nil {
			return "", fmt.Errorf("exit code %d: %.300s%s", code, stdout, stderr)
		}
		of := func(s inspect.Service) bool {
			return strings.HasPrefix(s.Namespace, ns) && s.Name != "proxy" && (s.Name == "till" || c.name != "short-name")
		}
		i := slices.IndexFunc(found.Services, of)
		if i < 0 {
			return "", fmt.Errorf("it is not among %.300s", stdout)
		}
		s = found.Services[i]
		if why := missing(s); why != "" {
			return why, nil
		}
		if want := min(len(names(s)), 1); code != want && (want == 1 || code != 4) && c.name != "short-name" {
			return "", fmt.Errorf("exit code %d, want %d", code, want)
		}
		return "", nil
	}); err != nil {
		t.Error(err)
	}
	return s
}

// checkMeasure lets short-lived clients call a service, in a namespace that admits
// restricted pods only. They leave nothing.
func checkMeasure(t *testing.T, f *foreign, client *kube.Client, images *strings.Replacer, image string) {
	t.Helper()
	const ns = "lab-wrong-measured"
	c := wrongCase{edits: []string{"spec:\n  selector: {app: cart}\n", "spec:\n  clusterIP: None\n  selector: {app: cart}\n"}}
	applyInTurn(t, client, ns, c.manifests(t, ns, images))
	restrict := []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`)
	if _, err := client.Typed.CoreV1().Namespaces().Patch(t.Context(), ns, types.MergePatchType, restrict, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	measure := func(image string) (int, string, string) {
		return call{cache: f.cache, args: []string{"inspect", "cart", "-n", ns, "-o", "json", "--for", "0s", "--measure", "--image", image}}.run(t)
	}
	code, stdout, stderr := measure(image)
	var found struct{ Services []inspect.Service }
	if err := json.Unmarshal([]byte(stdout), &found); err != nil || len(found.Services) != 1 || found.Services[0].Measurement == nil {
		t.Fatalf("exit code %d: %.500s%s", code, stdout, stderr)
	}
	m := found.Services[0].Measurement
	t.Log(m)
	if all, one := m.Answers["all-addresses"], m.Answers["one-connection"]; len(all) != 3 || all.Jain() < .9 || len(one) != 1 || len(m.Failures) > 0 {
		t.Errorf("measured %+v, want three servers by all addresses, one by one connection, and no failure", m)
	}
	if code, _, stderr := measure("registry.invalid/nobody/echo-client:v0"); code != 4 || !strings.Contains(stderr, "--image") {
		t.Errorf("with an image that is not there: exit code %d, want 4; stderr: %s", code, stderr)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, fmt.Errorf("not in a minute"))
	defer cancel()
	if err := poll.Until(ctx, time.Second, func(ctx context.Context) (string, error) {
		jobs, err := client.Typed.BatchV1().Jobs(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		pods, err := client.Typed.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=grpc-lb-inspect"})
		if err != nil || len(jobs.Items)+len(pods.Items) == 0 {
			return "", err
		}
		return fmt.Sprintf("%d Jobs and %d pods are left", len(jobs.Items), len(pods.Items)), nil
	}); err != nil {
		t.Error(err)
	}
}
