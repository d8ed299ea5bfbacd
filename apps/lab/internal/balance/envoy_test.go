package balance_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
)

// envoyScene is a client, an Envoy behind a Service, and the headless Service of the
// servers.
const envoyScene = `
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: None, selector: {app: cart}, ports: [{name: grpc, port: 9000}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, ports: [{name: rpc, containerPort: 9000}], readinessProbe: {grpc: {port: 9000}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: shop}
spec: {clusterIP: None, selector: {app: edge}, ports: [{name: grpc, port: 8080}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: envoy, namespace: shop}
data:
  envoy.yaml: |
    static_resources:
      listeners:
        - filter_chains: [{filters: [{typed_config: {route_config: {virtual_hosts: [{routes: [{route: {cluster: cart}}]}]}}}]}]
      clusters:
        - {name: cart, type: STRICT_DNS, http2_protocol_options: {}, load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: cart, port_value: 9000}}}}]}]}}
        - {name: traces, type: LOGICAL_DNS, load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: zipkin.tracing.svc.cluster.local, port_value: 9411}}}}]}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: edge, namespace: shop}
spec:
  selector: {matchLabels: {app: edge}}
  template:
    metadata: {labels: {app: edge}}
    spec:
      containers:
        - {name: envoy, ports: [{name: grpc, containerPort: 8080}], volumeMounts: [{name: config, mountPath: /etc/envoy}]}
      volumes: [{name: config, configMap: {name: envoy}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, args: ['--cart=dns:///edge:8080', '--lb-policy=round_robin']}]}
`

// The clusters to which Envoy's routes lead decide, and no others.
func TestEnvoys(t *testing.T) {
	const address = "socket_address: {address: cart, port_value: 9000}"
	for _, tt := range []struct {
		name     string
		edits    []string
		verdict  balance.Verdict
		findings []string
		because  string
	}{
		{name: "a cluster for traces is another matter", verdict: balance.Balanced},
		{name: "without routes, the cluster that leads to a gRPC Service decides", edits: []string{"route: {cluster: cart}", "redirect: {path_redirect: /}"}, verdict: balance.Balanced},
		{name: "a route to the cluster for traces", edits: []string{"route: {cluster: cart}", "route: {weighted_clusters: {clusters: [{name: cart, weight: 9}, {name: traces, weight: 1}]}}"}, verdict: balance.Unreachable, findings: []string{"envoy-upstream", "envoy-discovery", "envoy-protocol"}},
		{name: "one address of several", edits: []string{"type: STRICT_DNS", "type: LOGICAL_DNS"}, verdict: balance.Pinned, findings: []string{"envoy-discovery"}},
		{name: "HTTP/1.1", edits: []string{"http2_protocol_options: {}, ", ""}, verdict: balance.Unreachable, findings: []string{"envoy-protocol"}},
		{name: "servers from a control plane", edits: []string{"type: STRICT_DNS, http2_protocol_options: {}, load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {" + address + "}}}]}]}", "type: EDS"}, verdict: balance.Undecided, because: "gets its servers from elsewhere"},
		{name: "a host outside the cluster", edits: []string{address, "socket_address: {address: pay.example.com, port_value: 443}", "type: STRICT_DNS", "type: LOGICAL_DNS"}, verdict: balance.Undecided, because: "pay.example.com:443"},
		{name: "an Envoy alone that calls itself", edits: []string{address, "socket_address: {address: 127.0.0.1, port_value: 9000}"}, verdict: balance.Unreachable, findings: []string{"envoy-upstream"}},
		{
			name:    "an Envoy beside the server, in its pod",
			edits:   []string{address, "socket_address: {address: 127.0.0.1, port_value: 9000}", "        - {name: envoy,", "        - {name: cart, ports: [{name: rpc, containerPort: 9000}]}\n        - {name: envoy,"},
			verdict: balance.Balanced,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := paths(t, edit(envoyScene, tt.edits...))
			if len(found) != 1 {
				t.Fatalf("%d clients, expected 1: %+v", len(found), found)
			}
			p := found[0]
			var names []string
			for _, f := range p.Findings {
				if !f.Advice {
					names = append(names, f.Name)
				}
			}
			if p.Verdict != tt.verdict || !slices.Equal(names, tt.findings) || !strings.Contains(p.Because, tt.because) {
				t.Errorf("%s %v because %q, expected %s %v because %q", p.Verdict, names, p.Because, tt.verdict, tt.findings, tt.because)
			}
		})
	}
}
