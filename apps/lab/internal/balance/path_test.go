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
	return balance.New(objects).Paths()
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
		{"Linkerd 2", scene, append(target("dns:///cart:80"), linkerd...), balance.Balanced, nil},
		{"Linkerd 2 and appProtocol grpc", scene, append(append(target("dns:///cart:80"), linkerd...), "port: 80,", "port: 80, appProtocol: grpc,"), balance.Pinned, []string{"mesh-protocol"}},
		{"Linkerd 2 before a headless Service", headlessScene, append(target("dns:///cart:9000"), linkerd...), balance.Pinned, []string{"service-kind"}},
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
