package inspect_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/inspect"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// scene is a Service, its endpoints, its servers and one client of two pods.
const scene = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9], selector: {app: cart}, ports: [{name: grpc, port: 80, targetPort: 9000}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-1, namespace: shop, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
ports: [{name: grpc, port: 9000}]
endpoints:
  - {addresses: [10.1.0.1], conditions: {ready: true}, targetRef: {uid: a}}
  - {addresses: [10.1.0.2], conditions: {ready: true}, targetRef: {uid: b}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-2, namespace: shop, labels: {kubernetes.io/service-name: cart}}
addressType: IPv6
ports: [{name: grpc, port: 9000}]
endpoints:
  - {addresses: ["fd00::1"], conditions: {ready: true}, targetRef: {uid: a}}
  - {addresses: ["fd00::2"], conditions: {ready: true}, targetRef: {uid: b}}
---
apiVersion: v1
kind: Pod
metadata: {name: cart-x-1, namespace: shop, labels: {app: cart, pod-template-hash: x}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: cart-x, uid: r, controller: true}]}
spec: {containers: [{name: cart, image: "cart:1", readinessProbe: {grpc: {port: 9000}}, ports: [{containerPort: 9000}]}]}
status: {phase: Running}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: shop}
data: {CART_ADDR: "cart:80"}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: s, controller: true}]}
spec: {containers: [{name: web, image: "web:1", envFrom: [{configMapRef: {name: web}}]}]}
status: {phase: Running}
`

func clientset(t *testing.T, edits ...string) *fake.Clientset {
	t.Helper()
	text := scene
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("the scene has no %q", edits[i])
		}
		text = strings.ReplaceAll(text, edits[i], edits[i+1])
	}
	objects, err := manifest.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var all []runtime.Object
	for _, o := range objects {
		all = append(all, o)
	}
	return fake.NewClientset(all...)
}

// none has no custom resources.
var none = custom()

func custom(objects ...runtime.Object) *dynamicfake.FakeDynamicClient {
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}:             "GatewayList",
		{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "grpcroutes"}:           "GRPCRouteList",
		{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}:           "HTTPRouteList",
		{Group: "gateway.networking.k8s.io", Version: "v1beta1", Resource: "referencegrants"}: "ReferenceGrantList",
		{Group: "networking.istio.io", Version: "v1", Resource: "destinationrules"}:           "DestinationRuleList",
	}, objects...)
}

func names(s *inspect.Service) []string {
	var all []string
	for _, f := range s.Findings {
		all = append(all, f.Name)
	}
	slices.Sort(all)
	return all
}

// A live Service is judged by its endpoints, its clients and what meshes added to their
// pods. The fake client stands in for an API server.
func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name      string
		edits     []string
		verdict   balance.Verdict
		endpoints string
		findings  []string
	}{
		{"cluster IP", nil, balance.Pinned, "2 of 2 pods are ready", []string{"cluster-ip"}},
		{"one of two is not ready", []string{"[10.1.0.2], conditions: {ready: true}", "[10.1.0.2], conditions: {ready: false}", `["fd00::2"], conditions: {ready: true}`, `["fd00::2"], conditions: {ready: false}`},
			balance.Pinned, "1 of 2 pods are ready", []string{"cluster-ip", "unready-endpoints"}},
		{"none is ready", []string{"ready: true", "ready: false"}, balance.Pinned, "0 of 2 pods are ready", []string{"cluster-ip", "no-endpoints"}},
		{"headless, and the policy is in the program", []string{"clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9]", "clusterIP: None", `"cart:80"`, `"cart:9000"`}, balance.Undecided, "2 of 2 pods are ready", nil},
		{"a sidecar in the client", []string{`image: "web:1", envFrom: [{configMapRef: {name: web}}]}`, `image: "web:1", envFrom: [{configMapRef: {name: web}}]}, {name: istio-proxy, image: "p:1"}`}, balance.Balanced, "2 of 2 pods are ready", nil},
		{"a namespace that injects, and a pod without a sidecar", []string{"metadata: {name: shop}", "metadata: {name: shop, labels: {istio-injection: enabled}}"}, balance.Pinned, "2 of 2 pods are ready", []string{"cluster-ip"}},
		{"session affinity", []string{"spec: {clusterIP: 10.96.0.9,", "spec: {sessionAffinity: ClientIP, clusterIP: 10.96.0.9,"}, balance.Pinned, "2 of 2 pods are ready", []string{"cluster-ip", "session-affinity"}},
		{"no readiness probe", []string{"readinessProbe: {grpc: {port: 9000}}, ", ""}, balance.Pinned, "2 of 2 pods are ready", []string{"cluster-ip", "readiness"}},
		{"endpoints that somebody else writes", []string{"selector: {app: cart}, ", ""}, balance.Pinned, "2 of 2 pods are ready", []string{"cluster-ip"}},
		{"a name of another cluster", []string{"spec: {clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9], selector: {app: cart},", "spec: {type: ExternalName, externalName: cart.example.com,", "kubernetes.io/service-name: cart", "kubernetes.io/service-name: till"}, balance.Undecided, "no EndpointSlice", nil},
		{"no client", []string{`"cart:80"`, `"basket:80"`}, balance.Undecided, "2 of 2 pods are ready", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			snapshot, err := inspect.Read(t.Context(), clientset(t, test.edits...), none, "shop")
			if err != nil {
				t.Fatal(err)
			}
			found := snapshot.Judge()
			if len(found) != 1 || found[0].Namespace != "shop" || found[0].Name != "cart" {
				t.Fatalf("services %+v, want shop/cart alone", found)
			}
			s := found[0]
			if s.Verdict != test.verdict || s.Endpoints != test.endpoints {
				t.Errorf("%s, %s; want %s, %s", s.Verdict, s.Endpoints, test.verdict, test.endpoints)
			}
			if diff := cmp.Diff(test.findings, names(s)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// The TTL of DNS is CoreDNS's option, or its default, where CoreDNS can be read.
func TestTTL(t *testing.T) {
	for corefile, want := range map[string]string{
		".:53 {\n  kubernetes cluster.local in-addr.arpa {\n    pods insecure\n    ttl 30\n  }\n  cache 30\n}": "CoreDNS gives it a TTL of 30s",
		".:53 {\n  kubernetes cluster.local\n  cache 30\n}":                                                    "CoreDNS gives it a TTL of 5s",
		"": "an address for each ready pod",
	} {
		client := clientset(t, "clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9]", "clusterIP: None")
		if corefile != "" {
			config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "coredns", Namespace: "kube-system"}, Data: map[string]string{"Corefile": corefile}}
			if err := client.Tracker().Add(config); err != nil {
				t.Fatal(err)
			}
		}
		snapshot, err := inspect.Read(t.Context(), client, none, "shop")
		if err != nil {
			t.Fatal(err)
		}
		if got := snapshot.Judge()[0].Resolved; !strings.HasSuffix(got, want) {
			t.Errorf("Corefile %q: %q, want %q", corefile, got, want)
		}
	}
}

// What may not be read is named, and the rest is judged. An API server that fails is an
// error.
func TestReadWithoutRights(t *testing.T) {
	client := clientset(t)
	client.PrependReactor("list", "poddisruptionbudgets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "poddisruptionbudgets"}, "", nil)
	})
	client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "web", nil)
	})
	snapshot, err := inspect.Read(t.Context(), client, none, "shop")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"get configmap web in namespace shop: forbidden", "list poddisruptionbudgets in namespace shop: forbidden"}
	if diff := cmp.Diff(want, snapshot.NotSeen); diff != "" {
		t.Errorf("not seen (-want +got):\n%s", diff)
	}
	if found := snapshot.Judge(); len(found) != 1 || found[0].Verdict != balance.Undecided {
		t.Errorf("services %+v, want one that is undecided: its client's target is in the ConfigMap", found)
	}
	client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewInternalError(fmt.Errorf("etcd is gone"))
	})
	if _, err := inspect.Read(t.Context(), client, none, "shop"); err == nil || !strings.Contains(err.Error(), "list pods in namespace shop") {
		t.Errorf("error %v, want one that names the list of pods", err)
	}
}

// inspect reads, and writes nothing.
func TestReadWritesNothing(t *testing.T) {
	client := clientset(t)
	if _, err := inspect.Read(t.Context(), client, none); err != nil {
		t.Fatal(err)
	}
	for _, a := range client.Actions() {
		if !slices.Contains([]string{"list", "get"}, a.GetVerb()) {
			t.Errorf("it did %s %s", a.GetVerb(), a.GetResource().Resource)
		}
	}
}

// Ten thousand pods of a hundred owners are kept as a hundred workloads.
func TestManyPods(t *testing.T) {
	client := clientset(t)
	for i := range 10_000 {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("many-%d", i), Namespace: "shop",
			OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: fmt.Sprintf("many-%d", i%100), Controller: new(true)}},
		}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
		if err := client.Tracker().Add(pod); err != nil {
			t.Fatal(err)
		}
	}
	snapshot, err := inspect.Read(context.WithoutCancel(t.Context()), client, none, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if n := snapshot.Workloads(); n != 102 {
		t.Errorf("%d workloads, want 100, the servers and the client", n)
	}
}

// A GRPCRoute makes its backend a gRPC Service, and a DestinationRule is read. Where the
// cluster has no such kinds, nothing is missing.
func TestCustomResources(t *testing.T) {
	plain := clientset(t, "name: grpc, port: 80, targetPort: 9000", "name: main, port: 80, targetPort: 9000", "readinessProbe: {grpc: {port: 9000}}", "readinessProbe: {tcpSocket: {port: 9000}}")
	route := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute", "metadata": map[string]any{"name": "r", "namespace": "shop"},
		"spec": map[string]any{"parentRefs": []any{map[string]any{"name": "front"}}, "rules": []any{map[string]any{"backendRefs": []any{map[string]any{"name": "cart", "port": int64(80)}}}}},
	}}
	subset := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": map[string]any{"name": "d", "namespace": "shop"},
		"spec": map[string]any{"host": "cart", "subsets": []any{map[string]any{"name": "v2", "labels": map[string]any{"version": "v2"}}}},
	}}
	absent := custom()
	absent.PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewNotFound(schema.GroupResource{}, "")
	})
	for _, test := range []struct {
		name     string
		custom   *dynamicfake.FakeDynamicClient
		findings []string // nil if no gRPC Service is found
	}{
		{"no kinds", absent, nil},
		{"a route", custom(route), []string{"cluster-ip"}},
		{"a route and a subset", custom(route, subset), []string{"cluster-ip", "destination-subset"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			snapshot, err := inspect.Read(t.Context(), plain, test.custom, "shop")
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, s := range snapshot.Judge() {
				found = append(found, names(s)...)
			}
			if diff := cmp.Diff(test.findings, found); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if len(snapshot.NotSeen) > 0 {
				t.Errorf("not seen: %q, want nothing", snapshot.NotSeen)
			}
		})
	}
}
