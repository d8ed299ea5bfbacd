package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// checkInspect makes services that are wrong on purpose. `lab inspect` names the fault of
// each, and where calls can be counted they are spread as it says.
func checkInspect(t *testing.T, f *foreign) {
	t.Helper()
	if code, _, stderr := (call{cache: f.cache, args: []string{"run", "--only", "l4,envoy", "--keep", "--retries", "0"}}).run(t); code > 1 {
		t.Fatalf("lab run: exit code %d:\n%s", code, stderr) // it puts the images onto the nodes
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
	images := strings.NewReplacer("SERVER", image("grpc-lb-l4", "echo-server"), "CLIENT", image("grpc-lb-l4", "echo-client"), "ENVOY", image("grpc-lb-envoy", "envoy"))
	for _, ns := range []string{"grpc-lb-l4", "grpc-lb-envoy"} {
		if err := client.Typed.CoreV1().Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		f.waitGone(t, ns)
	}
	const (
		spec, goal = "spec:\n  selector: {app: cart}\n", "--target=dns:///cart:8080"
		headless   = "spec:\n  clusterIP: None\n  selector: {app: cart}\n"
		balances   = goal + ", --lb-policy=round_robin"
		probe      = "          readinessProbe: {grpc: {port: 8080}, periodSeconds: 1}\n          resources"
	)
	with := func(field string) []string {
		return []string{spec, "spec:\n  " + field + "\n  selector: {app: cart}\n"}
	}
	proxied := []string{spec, headless, goal, "--target=dns:///proxy:8080"}
	for _, tt := range []struct {
		name, more string // objects besides
		edits      []string
		verdict    string
		measured   bool // calls can be counted
		findings   []string
	}{
		{name: "balanced", edits: []string{spec, headless, goal, balances}, verdict: "balanced", measured: true},
		{name: "cluster-ip", verdict: "pinned", measured: true, findings: []string{"cluster-ip"}},
		{name: "service-kind", edits: []string{goal, balances}, verdict: "pinned", measured: true, findings: []string{"service-kind"}},
		{name: "pick-first", edits: []string{spec, headless, goal, goal + ", --lb-policy=pick_first"}, verdict: "pinned", measured: true, findings: []string{"client-policy"}},
		{name: "passthrough", edits: []string{spec, headless, goal, "--target=passthrough:///cart:8080, --lb-policy=round_robin"}, verdict: "pinned", measured: true, findings: []string{"client-policy"}},
		{name: "headless-port", edits: []string{spec, headless, "port: 8080, targetPort: grpc", "port: 80, targetPort: grpc", goal, "--target=dns:///cart:80, --lb-policy=round_robin"}, verdict: "unreachable", findings: []string{"client-target"}},
		{name: "session-affinity", edits: with("sessionAffinity: ClientIP"), verdict: "pinned", measured: true, findings: []string{"cluster-ip", "session-affinity"}},
		{name: "local", edits: with("internalTrafficPolicy: Local"), verdict: "pinned", findings: []string{"cluster-ip", "traffic-policy"}},
		{name: "same-node", edits: with("trafficDistribution: PreferSameNode"), verdict: "pinned", measured: true, findings: []string{"cluster-ip", "traffic-policy"}},
		{name: "not-ready", edits: append([]string{spec, "spec:\n  publishNotReadyAddresses: true\n  clusterIP: None\n  selector: {app: cart}\n"}, goal, balances), verdict: "balanced", measured: true, findings: []string{"not-ready-addresses"}},
		{name: "readiness", edits: []string{spec, headless, goal, balances, probe, "          resources"}, verdict: "balanced", measured: true, findings: []string{"readiness"}},
		{name: "unready", edits: []string{spec, headless, goal, balances}, more: "\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: ill, namespace: SHOP, labels: {app: cart}}\nspec: {terminationGracePeriodSeconds: 1, containers: [{name: cart, image: SERVER, ports: [{name: grpc, containerPort: 8080}], readinessProbe: {grpc: {port: 8080, service: nope}, periodSeconds: 1}}]}\n",
			verdict: "balanced", measured: true, findings: []string{"unready-endpoints"}},
		{name: "no-server", edits: []string{"replicas: 3", "replicas: 0"}, verdict: "pinned", findings: []string{"cluster-ip", "no-endpoints"}},
		{name: "budget", edits: []string{spec, headless, goal, balances}, more: "\n---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: cart, namespace: SHOP}\nspec: {minAvailable: 3, selector: {matchLabels: {app: cart}}}\n",
			verdict: "balanced", measured: true, findings: []string{"disruption-budget"}},
		{name: "autoscaler", more: "\n---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: cart, namespace: SHOP}\nspec: {minReplicas: 3, maxReplicas: 4, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: cart}}\n",
			verdict: "pinned", measured: true, findings: []string{"autoscaler-pinned", "cluster-ip"}},
		{name: "envoy", more: wrongEnvoy, edits: proxied, verdict: "balanced", measured: true},
		{name: "logical-dns", more: wrongEnvoy, edits: append([]string{"STRICT_DNS", "LOGICAL_DNS"}, proxied...), verdict: "pinned", measured: true, findings: []string{"envoy-discovery"}},
		{name: "http1", more: wrongEnvoy, edits: append([]string{"          http2_protocol_options: {}\n", ""}, proxied...), verdict: "unreachable", findings: []string{"envoy-protocol"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := "lab-wrong-" + tt.name
			text := wrongService + tt.more
			for i := 0; i < len(tt.edits); i += 2 {
				if !strings.Contains(text, tt.edits[i]) {
					t.Fatalf("the service has no %q", tt.edits[i])
				}
				text = strings.Replace(text, tt.edits[i], tt.edits[i+1], 1)
			}
			objects, err := manifest.Unstructured([]byte(images.Replace(strings.ReplaceAll(text, "SHOP", ns))))
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Apply(t.Context(), objects...); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := client.Typed.CoreV1().Namespaces().Delete(context.WithoutCancel(t.Context()), ns, metav1.DeleteOptions{}); err != nil {
					t.Error(err)
				}
			}()
			ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Minute, fmt.Errorf("not in 2 minutes"))
			defer cancel()
			if err := poll.Until(ctx, time.Second, func(context.Context) (string, error) {
				code, stdout, stderr := call{cache: f.cache, args: []string{"inspect", "cart", "-n", ns, "-o", "json", "--for", "2s"}}.run(t)
				var found struct{ Services []inspect.Service }
				if err := json.Unmarshal([]byte(stdout), &found); err != nil || len(found.Services) != 1 {
					return "", fmt.Errorf("exit code %d: %.300s%s", code, stdout, stderr)
				}
				s := found.Services[0]
				var names []string
				partial := false
				for _, fault := range s.Faults() {
					if fault.Name == "partial-view" { // a client of DNS that started before all servers were ready
						partial = true
						continue
					}
					names = append(names, fault.Name)
				}
				slices.Sort(names)
				if !slices.Equal(slices.Compact(names), tt.findings) || string(s.ByObjects) != tt.verdict || s.Measured != tt.measured || tt.measured && s.Verdict != s.ByObjects {
					return fmt.Sprintf("%s by objects, %s by traffic (%s), findings %v; want %s, measured %t, findings %v", s.ByObjects, s.Verdict, s.Traffic, names, tt.verdict, tt.measured, tt.findings), nil
				}
				if want := min(len(tt.findings), 1); code != want && !partial {
					return "", fmt.Errorf("exit code %d, want %d", code, want)
				}
				return "", nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
