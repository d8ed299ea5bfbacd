package balance_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// gatewayScene is a client of a Gateway's proxy in another namespace than the servers,
// whose Service a ReferenceGrant lets the route name.
const gatewayScene = `
apiVersion: v1
kind: Namespace
metadata: {name: edge, labels: {calls: cart}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: grpc, port: 9000}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, ports: [{containerPort: 9000}], readinessProbe: {grpc: {port: 9000}}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: edge, namespace: shop}
spec: {from: [{group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: edge}], to: [{group: "", kind: Service}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: edge}
spec:
  gatewayClassName: istio
  infrastructure: {labels: {app: front}}
  listeners: [{name: grpc, port: 8080, protocol: HTTP, allowedRoutes: {kinds: [{kind: GRPCRoute}], namespaces: {from: Same}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: cart, namespace: edge}
spec:
  parentRefs: [{name: front, sectionName: grpc}]
  rules: [{backendRefs: [{name: cart, namespace: shop, port: 9000, weight: 9}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: edge}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, args: ['--cart=front-istio:8080']}]}
`

// others is a second Gateway's route, of another kind.
const others = `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: edge}
spec: {parentRefs: [{name: front}]}
`

// What tests change, and what they see.
const (
	route  = "parentRefs: [{name: front, sectionName: grpc}]\n  "
	secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: front, namespace: shop}\n"

	weightless = "rule 1 has backends of weight 0 alone, expected a weight above 0: its calls fail with UNAVAILABLE"
	sameHost   = "HTTPRoute/web has a hostname of it at listener grpc of Gateway/front: the listener takes one of the two routes, the older one; expected one kind of route for a hostname"
)

// allKinds lets the listener take HTTPRoutes too.
var allKinds = []string{"kinds: [{kind: GRPCRoute}], ", ""}

const closedServers = `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: cart, namespace: shop}
spec:
  podSelector: {matchLabels: {app: cart}}
  ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}]}]
`

// A client of a Gateway's proxy is balanced if a route leads on to a Service. A route that
// gets no call is found whoever calls.
func TestGateways(t *testing.T) {
	for _, tt := range []struct {
		name    string
		edits   []string
		more    string
		verdict balance.Verdict
		seen    []string // what findings say
		because string
	}{
		{name: "a route to a Service", verdict: balance.Balanced},
		{name: "the scheme names what gRPC resolves", edits: []string{"front-istio:8080", "dns:///front-istio.edge.svc:8080"}, verdict: balance.Balanced},
		{name: "no listener at the port", edits: []string{"'--cart=front-istio:8080'", "'--cart=dns:///front-istio:80'"}, verdict: balance.Unreachable, seen: []string{"Gateway/front has no listener at port 80, expected 8080 (grpc)"}},
		{name: "another class makes another name", edits: []string{"gatewayClassName: istio", "gatewayClassName: nginx", "--cart=front-istio", "--cart=dns:///front-istio"}, verdict: balance.Undecided, because: `no Service has the short name "front-istio"`},
		{name: "the route's parent is no listener", edits: []string{"sectionName: grpc", "sectionName: http", "--cart=front-istio", "--cart=dns:///front-istio"}, verdict: balance.Unreachable, seen: []string{"no GRPCRoute leads from its port 8080 to a Service", "parent front: the Gateway has no listener http, expected grpc (port 8080)"}},
		{name: "a listener of TCP", edits: []string{"protocol: HTTP", "protocol: TCP", "--cart=front-istio", "--cart=dns:///front-istio"}, verdict: balance.Unreachable, seen: []string{"no GRPCRoute leads from its port 8080 to a Service", "parent front: listener grpc has protocol TCP, expected HTTP or HTTPS"}},
		{name: "a listener for HTTPRoutes", edits: []string{"kind: GRPCRoute}]", "kind: HTTPRoute}]", "--cart=front-istio", "--cart=dns:///front-istio"}, verdict: balance.Unreachable, seen: []string{"no GRPCRoute leads from its port 8080 to a Service", "parent front: listener grpc allows no GRPCRoute"}},
		{name: "no such port", edits: []string{"port: 9000, weight", "port: 90, weight"}, verdict: balance.Unreachable, seen: []string{"no GRPCRoute leads from its port 8080 to a Service", "backend cart: Service/cart has no port 90, expected 9000 (grpc)"}},
		{name: "no grant", edits: []string{`kind: Service}]`, `kind: Service, name: till}]`}, verdict: balance.Unreachable, seen: []string{"no GRPCRoute leads from its port 8080 to a Service", `backend cart: no ReferenceGrant of namespace "shop" lets a GRPCRoute of namespace "edge" name its Service "cart"`}},
		{name: "a weight of 0", edits: []string{"weight: 9", "weight: 0"}, verdict: balance.Unreachable, seen: []string{"no GRPCRoute leads from its port 8080 to a Service", weightless}},
		{name: "a route of another kind", edits: append([]string{"weight: 9", "weight: 0"}, allKinds...), more: others, verdict: balance.Undecided, seen: []string{sameHost, weightless}, because: "HTTPRoute/web leads on from Gateway/front, which is not judged"},
		{name: "servers that admit the client alone", more: closedServers, verdict: balance.Balanced, seen: []string{"no rule of ingress admits Gateway/front at port 9000 of Deployment/cart: its rule for the port admits pods with app=web of all namespaces alone"}},
		{name: "servers that admit the proxy", more: strings.Replace(closedServers, "app: web", "app: front", 1), verdict: balance.Balanced},
		{name: "servers that admit proxies of the class", more: strings.Replace(closedServers, "app: web", "gateway.networking.k8s.io/gateway-class-name: istio", 1), verdict: balance.Balanced},
		{name: "a hostname of both, and the client's", edits: []string{route, route + "hostnames: [front-istio, b.example.com]\n  "}, verdict: balance.Balanced},
		{name: "a hostname of both by a wildcard, and a setting names it", edits: []string{route, route + "hostnames: [cart.example.com]\n  ", "protocol: HTTP", "protocol: HTTP, hostname: '*.example.com'", "args: ['", "args: ['--authority=cart.example.com', '"}, verdict: balance.Balanced},
		{name: "a hostname that the client does not name", edits: []string{route, route + "hostnames: [cart.example.com]\n  "}, verdict: balance.Undecided, because: "take calls to cart.example.com: the client calls front-istio"},
		{name: "a hostname that the listener does not have", edits: []string{route, route + "hostnames: [example.com]\n  ", "protocol: HTTP", "protocol: HTTP, hostname: '*.example.com'", "--cart=", "--cart=dns:///"}, verdict: balance.Unreachable, seen: []string{"no GRPCRoute leads from its port 8080 to a Service", "parent front: listener grpc has hostname *.example.com, which matches none of the route's: example.com"}},
		{name: "a namespace by its name, which every namespace has as a label", edits: []string{"namespaces: {from: Same}", "namespaces: {from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: edge}}}"}, verdict: balance.Balanced},
		{name: "the Gateway's own namespace without the label", edits: []string{"namespaces: {from: Same}", "namespaces: {from: Selector, selector: {matchLabels: {routes: all}}}", "--cart=", "--cart=dns:///"}, verdict: balance.Unreachable, seen: []string{"no GRPCRoute leads from its port 8080 to a Service", `parent front: listener grpc allows routes from namespaces with routes=all, and the route is of namespace "edge"`}},
		{name: "no namespace", edits: []string{"namespaces: {from: Same}", "namespaces: {from: None}", "--cart=", "--cart=dns:///"}, verdict: balance.Unreachable, seen: []string{"no GRPCRoute leads from its port 8080 to a Service", `parent front: listener grpc allows routes from None, and the route is of namespace "edge"`}},
		{name: "a namespace without the label", edits: []string{"metadata: {name: cart, namespace: edge}", "metadata: {name: cart, namespace: shop}", "parentRefs: [{name: front", "parentRefs: [{namespace: edge, name: front", "namespaces: {from: Same}", "namespaces: {from: Selector, selector: {matchLabels: {routes: all}}}", "labels: {calls: cart}}", "labels: {calls: cart}}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}", "--cart=", "--cart=dns:///"}, verdict: balance.Unreachable, seen: []string{"no GRPCRoute leads from its port 8080 to a Service", `parent front: listener grpc allows routes from namespaces with routes=all, and the route is of namespace "shop"`}},
		{name: "a grant of the version before", edits: []string{"gateway.networking.k8s.io/v1\nkind: ReferenceGrant", "gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant"}, verdict: balance.Balanced},
		{name: "a backend without a port", edits: []string{"port: 9000, weight", "weight"}, verdict: balance.Unreachable, seen: []string{"no GRPCRoute leads from its port 8080 to a Service", "backend cart: it names no port of the Service, expected 9000 (grpc)"}},
		{name: "a rule without a backend", edits: []string{"rules: [{", "rules: [{matches: [{method: {service: a.B}}]}, {"}, verdict: balance.Balanced, seen: []string{"rule 1 has no backend, expected backendRefs: its calls fail with UNAVAILABLE"}},
		{name: "an HTTPRoute for the same hostname", more: others, edits: allKinds, verdict: balance.Balanced, seen: []string{sameHost}},
		{name: "an HTTPRoute for another hostname", more: strings.Replace(others, "spec: {", "spec: {hostnames: [web.example.com], ", 1), edits: append([]string{route, route + "hostnames: [front-istio]\n  "}, allKinds...), verdict: balance.Balanced},
		{name: "an HTTPRoute for the same hostname at one of two listeners", more: strings.Replace(others, "{name: front}", "{name: front, sectionName: web}", 1), edits: append([]string{"listeners: [", "listeners: [{name: web, port: 80, protocol: HTTP}, ", ", sectionName: grpc", ""}, allKinds...), verdict: balance.Balanced},
		{name: "an HTTPRoute of another listener", more: others, verdict: balance.Balanced},
		{name: "a route of TCP", edits: []string{"kind: GRPCRoute\nmetadata", "kind: HTTPRoute\nmetadata", "--cart=", "--cart=dns:///"}, more: strings.NewReplacer("v1\n", "v1alpha2\n", "HTTPRoute", "TCPRoute").Replace(others), verdict: balance.Undecided, because: "leads on from Gateway/front, which is not judged"},
		{name: "routes that are elsewhere", edits: []string{"parentRefs: [{name: front", "parentRefs: [{name: outer", "--cart=", "--cart=dns:///"}, verdict: balance.Undecided, because: "no GRPCRoute of Gateway/front is among the objects"},
		{name: "a parent of the wrong group", more: strings.Replace(mesh, `group: "", `, "", 1), verdict: balance.Balanced, seen: []string{`parent cart: kind Service is of group gateway.networking.k8s.io if no group is named, expected group: ""`}},
		{name: "a parent of another kind", more: strings.Replace(mesh, `group: "", kind: Service`, "kind: ListenerSet", 1), verdict: balance.Balanced},
		{name: "a port that is taken", edits: []string{"listeners: [", "listeners: [{name: tcp, port: 8080, protocol: TCP}, "}, verdict: balance.Balanced, seen: []string{"listeners tcp and grpc have port 8080 with the protocols TCP and HTTP, expected one of them: neither serves calls"}},
		{name: "TLS without a certificate", edits: []string{"protocol: HTTP", "protocol: HTTPS"}, verdict: balance.Balanced, seen: []string{"listener grpc has protocol HTTPS and no certificate, expected tls.certificateRefs"}},
		{name: "a certificate of another namespace", edits: []string{"protocol: HTTP", "protocol: HTTPS, tls: {certificateRefs: [{name: front, namespace: shop}]}"}, more: secret, verdict: balance.Balanced, seen: []string{`listener grpc: no ReferenceGrant of namespace "shop" lets a Gateway of namespace "edge" name its Secret "front"`}},
		{name: "a certificate of another namespace, and a grant", edits: []string{"protocol: HTTP", "protocol: HTTPS, tls: {certificateRefs: [{name: front, namespace: shop}]}", "kind: Service}]}", "kind: Service}, {group: '', kind: Secret}]}", "from: [{", "from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: edge}, {"}, more: secret, verdict: balance.Balanced},
		{name: "a port of which Istio takes the protocol for HTTP/1.1", edits: []string{"ports: [{name: grpc, port: 9000}]", "ports: [{name: http, port: 9000}]"}, verdict: balance.Balanced, seen: []string{"backend cart: Istio's gateway calls port 9000 of Service/cart by HTTP/1.1, which gRPC does not use; expected appProtocol: kubernetes.io/h2c, or the port's name grpc"}},
		{name: "a port whose appProtocol says HTTP/2", edits: []string{"ports: [{name: grpc, port: 9000}]", "ports: [{name: http, port: 9000, appProtocol: kubernetes.io/h2c}]"}, verdict: balance.Balanced},
		{name: "two listeners of one name and port", edits: []string{"listeners: [", "listeners: [{name: a, port: 8080, protocol: HTTP}, "}, verdict: balance.Balanced, seen: []string{"listeners a and grpc have the same port, protocol and hostname: the API server refuses the Gateway"}},
		{name: "two listeners of two hostnames", edits: []string{"listeners: [", "listeners: [{name: a, port: 8080, protocol: HTTP, hostname: a.example.com}, "}, verdict: balance.Balanced},
		{name: "copies of calls", edits: []string{"rules: [{", "rules: [{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: cart, namespace: shop, port: 9000}}}], "}, verdict: balance.Balanced},
		{name: "copies of calls for no such port", edits: []string{"rules: [{", "rules: [{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: cart, namespace: shop, port: 90}}}], "}, verdict: balance.Balanced, seen: []string{"mirror cart: Service/cart has no port 90, expected 9000 (grpc)"}},
		{name: "a Gateway of another namespace", more: strings.NewReplacer(`{group: "", kind: Service, name: cart, port: 90}`, "{name: front}").Replace(mesh), verdict: balance.Balanced, seen: []string{`parent front: namespace "shop" has no Gateway of the name; namespace "edge" has one: name that namespace`}},
		{name: "a controller that refuses the route", edits: []string{"weight: 9}]}]", "weight: 9}]}]\nstatus: {parents: [{parentRef: {name: front}, controllerName: istio.io/gateway-controller, conditions: [{type: Accepted, status: 'False', reason: NotAllowedByListeners, message: hostnames differ}]}]}"}, verdict: balance.Balanced, seen: []string{"parent front: istio.io/gateway-controller says that Accepted is False, NotAllowedByListeners: hostnames differ"}},
		{name: "a controller that refused the route's generation before", edits: []string{"metadata: {name: cart, namespace: edge}", "metadata: {name: cart, namespace: edge, generation: 2}", "weight: 9}]}]", "weight: 9}]}]\nstatus: {parents: [{parentRef: {name: front}, controllerName: c, conditions: [{type: Accepted, status: 'False', observedGeneration: 1}]}]}"}, verdict: balance.Balanced},
		{name: "a Gateway that its controller cannot serve", edits: []string{"namespaces: {from: Same}}}]", "namespaces: {from: Same}}}]\nstatus: {conditions: [{type: Accepted, status: 'True'}, {type: Programmed, status: 'False', reason: AddressNotAssigned, message: no address}]}"}, verdict: balance.Balanced, seen: []string{"its controller says that Programmed is False, AddressNotAssigned: no address"}},
		{name: "a mesh's route for a Service that has no such port", more: mesh, verdict: balance.Balanced, seen: []string{"parent cart: Service/cart has no port 90, expected 9000 (grpc)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			objects, err := manifest.Decode([]byte(edit(gatewayScene, tt.edits...) + tt.more))
			if err != nil {
				t.Fatal(err)
			}
			cluster := balance.Foreign(objects)
			found := cluster.Paths()
			if len(found) != 1 {
				t.Fatalf("%d clients, expected 1: %+v", len(found), found)
			}
			p := found[0]
			var seen []string
			for _, f := range slices.Concat(p.Findings, cluster.ServiceFindings()) {
				if _, text, ok := strings.Cut(f.Seen, `:8080": `); ok {
					f.Seen = text
				}
				if _, text, ok := strings.Cut(f.Seen, `:80": `); ok {
					f.Seen = text
				}
				seen = append(seen, f.Seen)
			}
			if p.Verdict != tt.verdict || !slices.Equal(seen, tt.seen) || !strings.Contains(p.Because, tt.because) {
				t.Errorf("%s %q because %q, expected %s %q because %q", p.Verdict, seen, p.Because, tt.verdict, tt.seen, tt.because)
			}
		})
	}
}

// A route for a Service leads the calls of a mesh's clients to other Services too, whose
// policies have to admit them. The policies of a Gateway's servers are judged without clients.
func TestRoutePolicies(t *testing.T) {
	const (
		second = `---
apiVersion: v1
kind: Service
metadata: {name: till, namespace: shop}
spec: {selector: {app: till}, ports: [{name: grpc, port: 9000}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: till, namespace: shop}
spec:
  selector: {matchLabels: {app: till}}
  template:
    metadata: {labels: {app: till}}
    spec: {containers: [{name: till, ports: [{containerPort: 9000}], readinessProbe: {grpc: {port: 9000}}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: mesh, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: cart}], rules: [{backendRefs: [{name: cart, port: 80}, {name: till, port: 9000, weight: WEIGHT}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: till, namespace: shop}
spec: {podSelector: {matchLabels: {app: till}}}
`
		closed = "no rule of ingress admits Deployment/web at port 9000 of Deployment/till"
	)
	injected := edit(scene, "labels: {}", "labels: {istio-injection: enabled}", "TARGET", "cart:80")
	checkClosed(t, injected+strings.Replace(second, "WEIGHT", "1", 1), closed)
	checkClosed(t, injected+strings.Replace(second, "WEIGHT", "0", 1), "")

	outside := gatewayScene[:strings.LastIndex(gatewayScene, "---\n")]
	elsewhere := edit(outside, "gatewayClassName: istio", "gatewayClassName: istio\n  addresses: [{type: Hostname, value: ingress.istio-ingress.svc.cluster.local}]")
	objects, err := manifest.Decode([]byte(elsewhere + closedServers))
	if err != nil {
		t.Fatal(err)
	}
	if found := balance.Foreign(objects).ServiceFindings(); len(found) > 0 {
		t.Errorf("found %+v, want nothing about proxies that are elsewhere", found)
	}
	for policy, want := range map[string]int{closedServers: 1, strings.Replace(closedServers, "app: web", "app: front", 1): 0} {
		objects, err := manifest.Decode([]byte(outside + policy))
		if err != nil {
			t.Fatal(err)
		}
		found := balance.Foreign(objects).ServiceFindings()
		if len(found) != want || want == 1 && !strings.HasPrefix(found[0].Seen, "no rule of ingress admits Gateway/front at port 9000 of Deployment/cart") {
			t.Errorf("found %+v, want %d about the way from the Gateway's proxy", found, want)
		}
	}
}

const mesh = `---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: mesh, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: cart, port: 90}]
  rules: [{backendRefs: [{name: cart, port: 9000}]}]
`

// In a cluster the proxy's Service is there, and leads to its pods; what is nowhere in it is
// found.
func TestLiveGateways(t *testing.T) {
	const made = `---
apiVersion: v1
kind: Service
metadata: {name: front-istio, namespace: edge}
spec: {clusterIP: 10.96.0.8, selector: {gateway.networking.k8s.io/gateway-name: front}, ports: [{name: grpc, port: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front-istio, namespace: edge}
spec:
  selector: {matchLabels: {gateway.networking.k8s.io/gateway-name: front}}
  template:
    metadata: {labels: {gateway.networking.k8s.io/gateway-name: front}}
    spec: {containers: [{name: istio-proxy}]}
`
	objects, err := manifest.Decode([]byte(gatewayScene + made))
	if err != nil {
		t.Fatal(err)
	}
	found := balance.Live(objects).Paths()
	if len(found) != 1 {
		t.Fatalf("%d clients, expected 1: %+v", len(found), found)
	}
	if p := found[0]; p.Verdict != balance.Balanced || p.Through == nil || p.Through.Name != "front-istio" || p.Service.Name != "cart" || p.ProxyAdmin != 15000 {
		t.Errorf("%s through %v to %v, admin port %d; expected balanced through front-istio to cart, 15000", p.Verdict, p.Through, p.Service, p.ProxyAdmin)
	}
	if objects, err = manifest.Decode([]byte(edit(gatewayScene+made, "name: cart, namespace: shop, port", "name: basket, namespace: shop, port"))); err != nil {
		t.Fatal(err)
	}
	findings := balance.Live(objects).ServiceFindings()
	if len(findings) != 1 || findings[0].Seen != `backend basket: namespace "shop" has no Service "basket"` {
		t.Errorf("findings %+v, expected one about the backend basket", findings)
	}
}
