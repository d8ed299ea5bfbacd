package conformance

import (
	"net/url"
	"time"

	"google.golang.org/grpc/resolver"
)

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
		Name: "own-namespace-not-taken",
		Want: "a target without a namespace means the program's own",
		run: func(b *bench) {
			other := slice("a", pod("q1", "10.9.9.9"))
			other.Namespace = "default"
			b.set(other, slice("a", pod("p1", "10.0.0.1")))
			c, err := b.buildTarget(newRecorder(), b.program().Target(service, "", port))
			if err != nil {
				b.Fatalf("Build: %v", err)
			}
			c.want("10.0.0.1:8080")
			c.never("10.9.9.9")
		},
	},
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
