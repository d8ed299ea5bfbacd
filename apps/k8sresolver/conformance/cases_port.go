package conformance

import (
	"net/url"
	"time"

	"google.golang.org/grpc/resolver"
)

// portCases are about the port that is dialled.
var portCases = []Case{
	{
		Name: "named-port-dialled-literally",
		Want: "a name that no slice has is an error that names it, and no address",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watchPort("nope")
			c.wantError(patience, "nope")
			c.never("10.0.0.1")
		},
	},
	{
		Name: "named-port-not-resolved",
		Want: "a port's name stands for its number",
		run: func(b *bench) {
			b.set(withPorts(slice("a", pod("p1", "10.0.0.1")), tcp("metrics", 9090), tcp("grpc", 8080)))
			b.watchPort("grpc").want("10.0.0.1:8080")
		},
	},
	{
		Name: "first-slices-port-used-for-all",
		Want: "a port's name is resolved in each slice, whose numbers may differ",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")), withPorts(slice("b", pod("p2", "10.0.0.2")), tcp("grpc", 9090)))
			b.watchPort("grpc").want("10.0.0.1:8080", "10.0.0.2:9090")
		},
	},
	{
		Name: "slice-without-the-port-used",
		Want: "a slice that lacks the named port contributes nothing",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")), withPorts(slice("b", pod("p2", "10.0.0.2")), tcp("metrics", 9090)))
			c := b.watchPort("grpc")
			c.want("10.0.0.1:8080")
			c.never("10.0.0.2")
		},
	},
	{
		Name: "udp-port-dialled",
		Want: "of two ports with one name the TCP port is meant",
		run: func(b *bench) {
			b.set(withPorts(slice("a", pod("p1", "10.0.0.1")), udp("grpc", 5353), tcp("grpc", 8080)))
			b.watchPort("grpc").want("10.0.0.1:8080")
		},
	},
	{
		Name: "numbered-port-taken-for-the-services",
		Want: "a number is the pod's port, whatever the slices say",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			b.watchPort("9999").want("10.0.0.1:9999")
		},
	},
	{
		Name: "only-port-not-found",
		Want: "without a port in the target the only TCP port is taken",
		run: func(b *bench) {
			b.set(withPorts(slice("a", pod("p1", "10.0.0.1")), udp("dns", 53), tcp("main", 7777)))
			b.watchPort("").want("10.0.0.1:7777")
		},
	},
	{
		Name: "app-protocol-ignored",
		Want: "without a port in the target the one whose appProtocol is kubernetes.io/h2c or grpc is taken",
		run: func(b *bench) {
			b.set(
				withPorts(slice("a", pod("p1", "10.0.0.1")), tcp("metrics", 9090), app("kubernetes.io/h2c", tcp("main", 8081))),
				withPorts(slice("b", pod("p2", "10.0.0.2")), tcp("metrics", 9090), app("grpc", tcp("main", 8082))))
			b.watchPort("").want("10.0.0.1:8081", "10.0.0.2:8082")
		},
	},
	{
		Name: "grpc-name-ignored",
		Want: "without a port in the target the one named grpc or grpc-* is taken",
		run: func(b *bench) {
			b.set(withPorts(slice("a", pod("p1", "10.0.0.1")), tcp("metrics", 9090), tcp("grpc-main", 8081)))
			b.watchPort("").want("10.0.0.1:8081")
		},
	},
	{
		Name: "ambiguous-port-guessed",
		Want: "without a port in the target and several to choose from, callers are told so",
		run: func(b *bench) {
			b.set(withPorts(slice("a", pod("p1", "10.0.0.1")), tcp("metrics", 9090), tcp("main", 8081)))
			c := b.watchPort("")
			c.wantError(patience, service, "port")
			c.never("10.0.0.1")
		},
	},
	{
		Name: "slice-without-ports-panics",
		Want: "endpoints without ports are left out, the others are used",
		run: func(b *bench) {
			b.set(slice("b", pod("p2", "10.0.0.2")))
			c := b.watchPort("")
			c.want("10.0.0.2:8080")
			b.set(withPorts(slice("a", pod("p1", "10.0.0.1"))))
			b.set(slice("b", pod("p2", "10.0.0.2"), pod("p3", "10.0.0.3")))
			c.want("10.0.0.2:8080", "10.0.0.3:8080")
		},
	},
}

// refused returns a case of a target that must not be accepted.
func refused(name, want, service, port string) Case {
	return Case{Name: name, Want: want, run: func(b *bench) {
		b.set(slice("a", pod("p1", "10.0.0.1")))
		c, err := b.build(newRecorder(), service, port)
		if err != nil {
			return
		}
		if !c.await(time.Second, func(h []event) bool { return len(failures(h)) > 0 }) {
			b.Errorf("neither Build nor the resolver refuses it")
		}
	}}
}

// targetCases are about the target, and about what a program asks of the API server.
var targetCases = []Case{
	refused("empty-service-accepted", "a target without a Service is refused", "", port),
	refused("dotted-service-accepted", "a target with too many dots, which is a DNS name, is refused", "a.b.svc.cluster", port),
	refused("upper-case-accepted", "a Service's name in upper case, which cannot exist, is refused", "Echo", port),
	refused("ip-literal-accepted", "an IPv6 address in brackets instead of a Service is refused", "[fd00::1]", port),
	refused("port-out-of-range-accepted", "a port above 65535 is refused", service, "65536"),
	{
		Name: "another-namespace-leaks",
		Want: "slices with the Service's label in another namespace are not used",
		run: func(b *bench) {
			other := slice("a", pod("q1", "10.9.9.9"))
			other.Namespace = "elsewhere"
			b.set(other, slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			c.never("10.9.9.9")
		},
	},
	{
		Name: "watches-the-whole-cluster",
		Want: "each request selects one Service in one namespace",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			b.watch().want("10.0.0.1:8080")
			for _, r := range b.script.Requests() {
				if r.Namespace != "shop" || r.Selector != "kubernetes.io/service-name="+service {
					b.Errorf("request %+v, want it to select the Service in its namespace", r)
				}
			}
		},
	},
	{
		Name: "needs-more-than-list-and-watch",
		Want: "the program asks for EndpointSlices and for nothing else",
		run: func(b *bench) {
			b.set(slice("a", forZone("zone-1", on("node-1", "zone-1", pod("p1", "10.0.0.1")))))
			b.watch().want("10.0.0.1:8080")
			for _, r := range b.script.Requests() {
				if r.Resource != "endpointslices" {
					b.Errorf("request %+v, want endpointslices only", r)
				}
			}
		},
	},
	{
		Name: "authority-is-no-name",
		Want: "the channel's authority is service.namespace.svc, without the port's name, and addresses do not override it",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			p := b.program()
			target, err := url.Parse(p.Target(service, "shop", "grpc"))
			b.must(err)
			if o, ok := p.Builder.(resolver.AuthorityOverrider); !ok {
				b.Errorf("the builder does not override the authority, which is then %q", (&resolver.Target{URL: *target}).Endpoint())
			} else if got := o.OverrideAuthority(resolver.Target{URL: *target}); got != "echo.shop.svc" {
				b.Errorf("the authority is %q, want echo.shop.svc", got)
			}
			c := b.watch()
			c.want("10.0.0.1:8080")
			for _, e := range endpoints(states(c.history())[0]) {
				if got := e.Addresses[0].ServerName; got != "" {
					b.Errorf("ServerName = %q, want it empty", got)
				}
			}
		},
	},
}

// hintCases are about topology: the program runs on node-1 in zone-1.
var hintCases = []Case{
	{
		Name: "zone-hints-ignored",
		Want: "with zone hints on all ready endpoints those of the own zone are used",
		run: func(b *bench) {
			b.set(slice("a",
				forZone("zone-1", pod("p1", "10.0.0.1")), forZone("zone-2", pod("p2", "10.0.0.2")),
				forZone("zone-1", pod("p3", "10.0.0.3")), as(starting, pod("p4", "10.0.0.4"))))
			c := b.watch()
			c.want("10.0.0.1:8080", "10.0.0.3:8080")
			c.never("10.0.0.2")
		},
	},
	{
		Name: "node-hints-ignored",
		Want: "node hints go before zone hints",
		run: func(b *bench) {
			b.set(slice("a",
				forNode("node-1", forZone("zone-1", pod("p1", "10.0.0.1"))),
				forNode("node-2", forZone("zone-1", pod("p2", "10.0.0.2")))))
			b.watch().want("10.0.0.1:8080")
		},
	},
	{
		Name: "node-hints-for-others-followed",
		Want: "where no node hint names the own node, zone hints count",
		run: func(b *bench) {
			b.set(slice("a",
				forNode("node-2", forZone("zone-1", pod("p1", "10.0.0.1"))),
				forNode("node-3", forZone("zone-2", pod("p2", "10.0.0.2")))))
			b.watch().want("10.0.0.1:8080")
		},
	},
	{
		Name: "partial-hints-followed",
		Want: "where a ready endpoint has no hint, all are used",
		run: func(b *bench) {
			b.set(slice("a", forZone("zone-1", pod("p1", "10.0.0.1")), pod("p2", "10.0.0.2")))
			b.watch().want("10.0.0.1:8080", "10.0.0.2:8080")
		},
	},
	{
		Name: "foreign-zones-strand-the-client",
		Want: "where no hint names the own zone, all are used",
		run: func(b *bench) {
			b.set(slice("a", forZone("zone-2", pod("p1", "10.0.0.1")), forZone("zone-3", pod("p2", "10.0.0.2"))))
			b.watch().want("10.0.0.1:8080", "10.0.0.2:8080")
		},
	},
	{
		Name: "lost-zone-strands-the-client",
		Want: "when the own zone's last endpoint goes all are used, at once, and local ones again when they come",
		run: func(b *bench) {
			local := forZone("zone-1", pod("p1", "10.0.0.1"))
			remote1, remote2 := forZone("zone-2", pod("p2", "10.0.0.2")), forZone("zone-2", pod("p3", "10.0.0.3"))
			b.set(slice("a", local, remote1, remote2))
			c := b.watch()
			c.want("10.0.0.1:8080")
			b.set(slice("a", as(starting, local), remote1, remote2))
			c.wantWithin(time.Second, "10.0.0.2:8080", "10.0.0.3:8080")
			b.set(slice("a", local, remote1, remote2))
			c.want("10.0.0.1:8080")
		},
	},
}
