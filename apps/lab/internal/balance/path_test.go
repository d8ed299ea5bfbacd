package balance_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// scene is a Service, its server and one client of another's making: no label and no
// flag of this repository.
const scene = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {}, annotations: {}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  selector: {app: cart}
  ports: [{name: grpc, port: 80, targetPort: rpc}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      containers:
        - {name: cart, image: "cart:1", ports: [{name: rpc, containerPort: 9000}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {}}
    spec:
      containers:
        - name: web
          image: "web:1"
          args: ["TARGET"]
          env: []
`

const destinationRule = `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}}
`

// headlessScene makes the Service headless.
var headlessScene = edit(scene, "  selector: {app: cart}\n", "  clusterIP: None\n  selector: {app: cart}\n")

func edit(text string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			panic("the fixture has no " + pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}

func paths(t *testing.T, yaml string) []balance.Path {
	t.Helper()
	objects, err := manifest.Decode([]byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return balance.Foreign(objects).Paths()
}

const roundRobin = `"--grpc-service-config={\"loadBalancingConfig\":[{\"round_robin\":{}}]}"`

// The verdict about a client that is not of this repository follows from its target,
// its policy, the Service and the mesh.
func TestPaths(t *testing.T) {
	target := func(text string, more ...string) []string {
		return []string{`"TARGET"`, strings.Join(append([]string{`"` + text + `"`}, more...), ", ")}
	}
	istio := []string{"labels: {}", "labels: {istio-injection: enabled}"}
	linkerd := []string{"annotations: {}}\n---", `annotations: {linkerd.io/inject: enabled}}` + "\n---"}
	for _, tt := range []struct {
		name, scene string
		edits       []string
		verdict     balance.Verdict
		findings    []string
	}{
		{"cluster IP", scene, target("--cart=dns:///cart:80"), balance.Pinned, []string{"cluster-ip"}},
		{"cluster IP without a scheme", scene, target("--cart=cart.shop.svc.cluster.local:80"), balance.Pinned, []string{"cluster-ip"}},
		{"cluster IP through another cluster domain", scene, target("--cart=cart.shop.svc.corp.example.:80"), balance.Pinned, []string{"cluster-ip"}},
		{"cluster IP and a policy that uses all addresses", scene, target("--cart=dns:///cart:80", roundRobin), balance.Pinned, []string{"service-kind"}},
		{"cluster IP, flag and value apart", scene, target("--cart", `"dns:///cart:80"`), balance.Pinned, []string{"cluster-ip"}},
		{"cluster IP by passthrough", scene, target("passthrough:///cart:80"), balance.Pinned, []string{"cluster-ip"}},
		{"the pods' port at a cluster IP", scene, target("dns:///cart:9000"), balance.Unreachable, []string{"client-target"}},
		{"headless", headlessScene, target("dns:///cart:9000", roundRobin), balance.Balanced, nil},
		{"headless, dns: with one slash less", headlessScene, target("dns:cart:9000", roundRobin), balance.Balanced, nil},
		{"headless, and the Service's port", headlessScene, target("dns:///cart:80", roundRobin), balance.Unreachable, []string{"client-target"}},
		{"headless without a visible policy", headlessScene, target("dns:///cart:9000"), balance.Undecided, nil},
		{"headless with pick_first", headlessScene, target("dns:///cart:9000", `"--lb-policy=pick_first"`), balance.Pinned, []string{"client-policy"}},
		{"headless by passthrough", headlessScene, target("passthrough:///cart:9000", roundRobin), balance.Pinned, []string{"client-policy"}},
		{"EndpointSlices by a port's name", scene, target("k8s:///cart:grpc", roundRobin), balance.Balanced, nil},
		{"EndpointSlices without a port", scene, target("k8s:///cart.shop", roundRobin), balance.Balanced, nil},
		{"EndpointSlices by the Service's number", scene, target("k8s:///cart:80", roundRobin), balance.Unreachable, []string{"client-target"}},
		{"a policy that wraps another", headlessScene, target("dns:///cart:9000", `"--config={\"loadBalancingConfig\":[{\"outlier_detection_experimental\":{\"childPolicy\":[{\"pick_first\":{}}]}}]}"`), balance.Pinned, []string{"client-policy"}},
		{"the first policy that gRPC knows", headlessScene, target("dns:///cart:9000", `"--config={\"loadBalancingConfig\":[{\"from_the_future\":{}},{\"round_robin\":{}}]}"`), balance.Balanced, nil},
		{"Istio", scene, append(target("dns:///cart:80"), istio...), balance.Balanced, nil},
		{"Istio by revision", scene, append(target("dns:///cart:80"), "labels: {}", "labels: {istio.io/rev: stable}"), balance.Balanced, nil},
		{"Istio, and the pod opts out", scene, append(append(target("dns:///cart:80"), istio...), "labels: {app: web}, annotations", `labels: {app: web, sidecar.istio.io/inject: "false"}, annotations`), balance.Pinned, []string{"cluster-ip"}},
		{"Istio before a headless Service", headlessScene, append(target("dns:///cart:9000"), istio...), balance.Pinned, []string{"service-kind"}},
		{"Istio and a port that is TCP by name", scene, append(append(target("dns:///cart:80"), istio...), "name: grpc,", "name: tcp-cart,"), balance.Pinned, []string{"mesh-protocol"}},
		{"Istio, and the annotation alone", scene, append(target("dns:///cart:80"), "labels: {app: web}, annotations: {}", `labels: {app: web}, annotations: {sidecar.istio.io/inject: "true"}`), balance.Pinned, []string{"cluster-ip"}},
		{"Istio by the pod's label", scene, append(target("dns:///cart:80"), "labels: {app: web}, annotations", `labels: {app: web, sidecar.istio.io/inject: "true"}, annotations`), balance.Balanced, nil},
		{"Istio and a label that is not yes", scene, append(append(target("dns:///cart:80"), istio...), "labels: {app: web}, annotations", `labels: {app: web, sidecar.istio.io/inject: "off"}, annotations`), balance.Pinned, []string{"cluster-ip"}},
		{"Istio and a port that is HTTP by name", scene, append(append(target("dns:///cart:80"), istio...), "name: grpc, port: 80, targetPort: rpc", "name: http, port: 80, targetPort: rpc", "name: rpc, containerPort", "name: rpc, containerPort", `image: "cart:1", ports: [{name: rpc, containerPort: 9000}]`, `image: "cart:1", ports: [{name: rpc, containerPort: 9000}], readinessProbe: {grpc: {port: 9000}}`), balance.Unreachable, []string{"mesh-protocol"}},
		{"Istio and an unknown appProtocol", scene, append(append(target("dns:///cart:80"), istio...), "port: 80,", "port: 80, appProtocol: h2c,"), balance.Balanced, nil},
		{"Istio, and the port is left out", scene, append(append(target("dns:///cart:80"), istio...), "labels: {app: web}, annotations: {}", `labels: {app: web}, annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: "443,80"}`), balance.Pinned, []string{"mesh-bypass"}},
		{"Istio, and another port is left out", scene, append(append(target("dns:///cart:80"), istio...), "labels: {app: web}, annotations: {}", `labels: {app: web}, annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: "8080"}`), balance.Balanced, nil},
		{"Istio, and the rule passes connections through", scene + destinationRule, append(target("dns:///cart:80"), istio...), balance.Pinned, []string{"mesh-bypass"}},
		{"Istio's waypoint", scene, append(target("dns:///cart:80"), "labels: {}", "labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}"), balance.Balanced, nil},
		{"Istio's ambient mode without a waypoint", scene, append(target("dns:///cart:80"), "labels: {}", "labels: {istio.io/dataplane-mode: ambient}"), balance.Pinned, []string{"cluster-ip"}},
		{"Linkerd 2 and opaque ports of the Service", scene, append(append(target("dns:///cart:80"), linkerd...), "metadata: {name: cart, namespace: shop}\nspec:\n  selector: {app: cart}", `metadata: {name: cart, namespace: shop, annotations: {config.linkerd.io/opaque-ports: "25,80"}}`+"\nspec:\n  selector: {app: cart}"), balance.Pinned, []string{"mesh-protocol"}},
		{"Linkerd 2 and a skipped port", scene, append(append(target("dns:///cart:80"), linkerd...), "labels: {app: web}, annotations: {}", `labels: {app: web}, annotations: {config.linkerd.io/skip-outbound-ports: "70-90"}`), balance.Pinned, []string{"mesh-bypass"}},
		{"Linkerd 2 and appProtocol http", scene, append(append(target("dns:///cart:80"), linkerd...), "port: 80,", "port: 80, appProtocol: http,"), balance.Unreachable, []string{"mesh-protocol"}},
		{"Linkerd 2", scene, append(target("dns:///cart:80"), linkerd...), balance.Balanced, nil},
		{"Linkerd 2 and appProtocol grpc", scene, append(append(target("dns:///cart:80"), linkerd...), "port: 80,", "port: 80, appProtocol: grpc,"), balance.Pinned, []string{"mesh-protocol"}},
		{"Linkerd 2 before a headless Service", headlessScene, append(target("dns:///cart:9000"), linkerd...), balance.Pinned, []string{"service-kind"}},
		{"xDS with a bootstrap file of its own", scene, append(target("xds:///cart:80"), "env: []", "env: [{name: GRPC_XDS_BOOTSTRAP, value: /etc/xds/bootstrap.json}]"), balance.Undecided, nil},
		{"a Service that selects nothing here", edit(headlessScene, "selector: {app: cart}\n", "selector: {app: carts}\n"), target("dns:///cart:9000", roundRobin), balance.Undecided, nil},
		{"a Service that selects nothing here, and a port by number", edit(headlessScene, "selector: {app: cart}\n", "selector: {app: carts}\n", "targetPort: rpc", "targetPort: 9000"), target("dns:///cart:9000", roundRobin), balance.Undecided, nil},
		{"a Service of which nothing is known", scene, target("dns:///crat:80"), balance.Undecided, nil},
		{"a port by name, which only k8s knows", scene, target("dns:///cart:grpc"), balance.Unreachable, []string{"client-target"}},
		{"a pod of a StatefulSet", edit(headlessScene, "selector: {matchLabels: {app: cart}}", "serviceName: cart\n  replicas: 3\n  selector: {matchLabels: {app: cart}}"), target("dns:///cart-2.cart:9000", roundRobin), balance.Pinned, nil},
		{"a pod that a StatefulSet has not", edit(headlessScene, "selector: {matchLabels: {app: cart}}", "serviceName: cart\n  replicas: 3\n  selector: {matchLabels: {app: cart}}"), target("dns:///cart-3.cart.shop.svc:9000", roundRobin), balance.Unreachable, []string{"client-target"}},
		{"a pod of a StatefulSet without serviceName", headlessScene, target("dns:///cart-0.cart:9000", roundRobin), balance.Unreachable, []string{"client-target"}},
		{"a node's DNS", scene, append(target("dns:///cart:80"), "      containers:\n        - name: web", "      dnsPolicy: Default\n      containers:\n        - name: web"), balance.Unreachable, []string{"client-target"}},
		{"a name that only sounds like a policy's", headlessScene, append(target("dns:///cart:9000"), "env: []", "env: [{name: AWS_LOAD_BALANCER_NAME, value: prod-nlb}, {name: KAFKA_PARTITIONER, value: round_robin}]"), balance.Undecided, nil},
		{"a policy that only the program can know", headlessScene, target("dns:///cart:9000", `"--lb-policy=nearest"`), balance.Undecided, nil},
		{"a policy for another target", headlessScene, target("--cart=dns:///cart:9000", `"--till-lb-policy=round_robin"`, `"--cart-lb-policy=pick_first"`), balance.Pinned, []string{"client-policy"}},
		{"two policies, and which is meant is not said", headlessScene, target("dns:///cart:9000", `"--a-lb-policy=round_robin"`, `"--b-lb-policy=pick_first"`), balance.Undecided, nil},
		{"a service config inside a script", headlessScene, target("sh", `"-c"`, `"exec web --cart=dns:///cart:9000 --config='{\"loadBalancingConfig\":[{\"round_robin\":{}}]}'"`), balance.Balanced, nil},
		{"a service config inside another", headlessScene, target("dns:///cart:9000", `"--config={\"cart\":{\"serviceConfig\":{\"loadBalancingConfig\":[{\"round_robin\":{}}]}}}"`), balance.Balanced, nil},
		{"a service config that is no JSON", headlessScene, target("dns:///cart:9000", `"--config={loadBalancingConfig: round_robin}"`), balance.Undecided, nil},
		{"an entry with two policies", headlessScene, target("dns:///cart:9000", `"--config={\"loadBalancingConfig\":[{\"round_robin\":{},\"pick_first\":{}}]}"`), balance.Undecided, nil},
		{"an unknown policy in the older field", headlessScene, target("dns:///cart:9000", `"--config={\"loadBalancingPolicy\":\"round-robin\"}"`), balance.Pinned, []string{"client-policy"}},
		{"a variable that gRPC does not read", headlessScene, append(target("dns:///cart:9000"), "env: []", `env: [{name: GRPC_SERVICE_CONFIG, value: '{"loadBalancingConfig":[{"round_robin":{}}]}'}]`), balance.Undecided, nil},
		{"xDS without the agent", scene, target("xds:///cart:80"), balance.Unreachable, []string{"xds-agent"}},
		{"another namespace by its short name", scene, append(target("dns:///cart:80"), "metadata: {name: web, namespace: shop}", "metadata: {name: web, namespace: front}"), balance.Unreachable, []string{"client-target"}},
		{"another namespace by its long name", scene, append(target("dns:///cart.shop:80"), "metadata: {name: web, namespace: shop}", "metadata: {name: web, namespace: front}"), balance.Pinned, []string{"cluster-ip"}},
		{"a variable of the Service", scene, target("dns:///$(CART_SERVICE_HOST):$(CART_SERVICE_PORT)"), balance.Pinned, []string{"cluster-ip"}},
		{"a variable", scene, append(target("--addr=$(ADDR)"), "env: []", `env: [{name: HOST, value: cart}, {name: ADDR, value: "$(HOST):80"}]`), balance.Pinned, []string{"cluster-ip"}},
		{"a node's network and DNS", scene, append(target("dns:///cart:80"), "      containers:\n        - name: web", "      hostNetwork: true\n      containers:\n        - name: web"), balance.Unreachable, []string{"client-target"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := paths(t, edit(tt.scene, tt.edits...))
			if len(found) != 1 {
				t.Fatalf("%d clients, expected 1: %+v", len(found), found)
			}
			var names []string
			for _, f := range found[0].Findings {
				if !f.Advice {
					names = append(names, f.Name)
				}
			}
			if found[0].Verdict != tt.verdict || !slices.Equal(names, tt.findings) {
				t.Errorf("%s %v, expected %s %v: %+v", found[0].Verdict, names, tt.verdict, tt.findings, found[0].Findings)
			}
		})
	}
}

// A value that leads to no gRPC Service makes no client.
func TestNoClient(t *testing.T) {
	for _, text := range []string{"--listen=:80", "http://cart:80", "cart", "redis:6379", "--config=/etc/cart:80", "cart.example.com:443", ""} {
		if found := paths(t, edit(scene, "TARGET", text)); len(found) != 0 {
			t.Errorf("%q: %+v, expected no client", text, found)
		}
	}
}

// Targets are split as gRPC and its resolvers split them.
func TestParseTarget(t *testing.T) {
	for text, want := range map[string]balance.Target{
		"cart:80":                     {Scheme: "dns", Host: "cart", Port: "80"},
		"dns:cart:80":                 {Scheme: "dns", Host: "cart", Port: "80"},
		"dns:///cart":                 {Scheme: "dns", Host: "cart", Port: "443"},
		"dns://10.0.0.10/cart:80":     {Scheme: "dns", Host: "cart", Port: "80"},
		"dns:///[2001:db8::1]:80":     {Scheme: "dns", Host: "2001:db8::1", Port: "80"},
		"dns:///2001:db8::1":          {Scheme: "dns", Host: "2001:db8::1", Port: "443"},
		"passthrough:///cart.shop:80": {Scheme: "passthrough", Host: "cart.shop", Port: "80"},
		"k8s:///cart.shop:grpc":       {Scheme: "k8s", Host: "cart", Namespace: "shop", Port: "grpc"},
		"k8s:///cart":                 {Scheme: "k8s", Host: "cart"},
		"xds:///cart.shop:80":         {Scheme: "xds", Host: "cart.shop", Port: "80"},
		"unix:///run/cart.sock":       {Scheme: "unix", Host: "run/cart.sock"},
	} {
		want.Text = text
		got, err := balance.ParseTarget(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{"", "dns:///cart:", "dns:///cart:grpc", "passthrough:///cart", "k8s:///cart.shop.svc:80", "k8s://cart:80", "dns:///cart:99999"} {
		if got, err := balance.ParseTarget(text); err == nil {
			t.Errorf("%q: %+v, expected an error", text, got)
		}
	}
}

// What is wrong with a Service and its servers does not depend on the kinds and fields by
// which people say the same.
func TestServiceFindings(t *testing.T) {
	budget := func(spec string) string {
		return "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: cart, namespace: shop}\nspec: {" + spec + "}\n"
	}
	const (
		labels  = "selector: {matchLabels: {app: cart}}"
		another = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: cart-2, namespace: shop}\nspec: {replicas: 3, selector: {matchLabels: {app: cart, v: two}}, template: {metadata: {labels: {app: cart, v: two}}, spec: {containers: [{name: cart, image: 'cart:2', ports: [{name: rpc, containerPort: 9000}], readinessProbe: {grpc: {port: 9000}}}]}}}\n"
		scaler  = "---\napiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: cart, namespace: shop}\nspec: {minReplicas: 3, maxReplicas: 6, targetCPUUtilizationPercentage: 60, scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: cart}}\n"
		peers   = "---\napiVersion: v1\nkind: Service\nmetadata: {name: cart-peers, namespace: shop}\nspec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app: cart}, ports: [{name: grpc, port: 9000, targetPort: rpc}]}\n"
	)
	probed := edit(headlessScene, "ports: [{name: rpc, containerPort: 9000}]", "ports: [{name: rpc, containerPort: 9000}], readinessProbe: {grpc: {port: 9000}}")
	three := edit(probed, "selector: {matchLabels: {app: cart}}", "replicas: 3\n  selector: {matchLabels: {app: cart}}")
	onNodes := edit(probed, "kind: StatefulSet", "kind: DaemonSet")
	clusterIP := func(fields string) string {
		return edit(probed, "clusterIP: None", fields)
	}
	for _, tt := range []struct {
		name, scene string
		want        []string
	}{
		{"a server with a probe", probed, nil},
		{"no readiness probe", headlessScene, []string{"readiness"}},
		{"a startup probe alone", edit(probed, "readinessProbe", "startupProbe"), nil},
		{"a container beside it without a probe", edit(probed, `- {name: cart, image: "cart:1"`, `- {name: metrics, image: "m:1", ports: [{name: metrics, containerPort: 9100}]}`+"\n        - "+`{name: cart, image: "cart:1"`), nil},
		{"no pod may go", three + budget("maxUnavailable: 0, "+labels), []string{"disruption-budget"}},
		{"no pod may go, by an expression", three + budget("maxUnavailable: 0%, selector: {matchExpressions: [{key: app, operator: In, values: [cart]}]}"), []string{"disruption-budget"}},
		{"all pods must stay", three + budget("minAvailable: 3, "+labels), []string{"disruption-budget"}},
		{"all pods of one of two workloads", three + another + budget("minAvailable: 3, "+labels), nil},
		{"as many as an autoscaler leaves at least", probed + scaler + budget("minAvailable: 1, "+labels), nil},
		{"a DaemonSet, which no drain touches", onNodes + budget("maxUnavailable: 0, "+labels), nil},
		{"session affinity", clusterIP("sessionAffinity: ClientIP"), []string{"session-affinity"}},
		{"calls to the own node", clusterIP("internalTrafficPolicy: Local"), []string{"traffic-policy"}},
		{"calls to the own node, where a DaemonSet serves", edit(onNodes, "clusterIP: None", "internalTrafficPolicy: Local"), nil},
		{"pods that are not ready", edit(probed, "clusterIP: None", "clusterIP: None\n  publishNotReadyAddresses: true"), []string{"not-ready-addresses"}},
		{"pods that are not ready, for peers alone", probed + peers, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			objects, err := manifest.Decode([]byte(tt.scene))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range balance.Foreign(objects).ServiceFindings() {
				names = append(names, f.Name)
			}
			if !slices.Equal(names, tt.want) {
				t.Errorf("findings %v, want %v", names, tt.want)
			}
		})
	}
}
