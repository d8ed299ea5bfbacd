package conformance

import (
	"google.golang.org/grpc/resolver"
)

// last returns the endpoint with the address in the newest set.
func (c *channel) last(address string) resolver.Endpoint {
	for _, e := range endpoints(newest(c.history())) {
		if e.Addresses[0].Addr == address {
			return e
		}
	}
	c.Fatalf("gRPC does not have %s", address)
	return resolver.Endpoint{}
}

// stateCases are about what an endpoint carries.
var stateCases = []Case{
	{
		Name: "endpoints-not-set",
		Want: "the state has Endpoints, which newer balancers read, and Addresses, which older ones do",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c := b.watch()
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
			if s := states(c.history())[0]; len(s.Endpoints) != 2 || len(s.Addresses) != 2 {
				b.Errorf("%d Endpoints and %d Addresses, want 2 of each", len(s.Endpoints), len(s.Addresses))
			}
		},
	},
	{
		Name: "metadata-missing",
		Want: "a balancer can read pod, uid, node, zone and whether the pod terminates",
		run: func(b *bench) {
			b.set(slice("a", on("node-7", "zone-7", pod("p1", "10.0.0.1"))))
			c := b.watch()
			c.want("10.0.0.1:8080")
			c.wantInfo("10.0.0.1:8080", Info{Pod: "p1", UID: "u-p1", Node: "node-7", Zone: "zone-7"})
			b.set(slice("a", as(draining, on("node-7", "zone-7", pod("p1", "10.0.0.1")))))
			if !c.await(patience, func([]event) bool { return c.info("10.0.0.1:8080").Terminating }) {
				b.Errorf("within %v: the endpoint is not told to terminate", patience)
			}
		},
	},
	{
		Name: "attributes-never-equal",
		Want: "the attributes of an endpoint that has not changed are equal in two updates",
		run: func(b *bench) {
			b.set(slice("a", on("node-7", "zone-7", pod("p1", "10.0.0.1"))))
			c := b.watch()
			c.want("10.0.0.1:8080")
			before := c.last("10.0.0.1:8080")
			b.set(slice("a", on("node-7", "zone-7", pod("p1", "10.0.0.1")), pod("p2", "10.0.0.2")))
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
			after := c.last("10.0.0.1:8080")
			if !before.Attributes.Equal(after.Attributes) {
				b.Errorf("the attributes of an unchanged endpoint went from %v to %v", before.Attributes, after.Attributes)
			}
			if before.Attributes == nil {
				b.Errorf("the endpoint has no attributes to compare")
			}
		},
	},
	{
		Name: "changed-condition-dials-again",
		Want: "what changes while a pod lives is not part of its address, whose change would make a new connection",
		run: func(b *bench) {
			b.set(slice("a", on("node-7", "zone-7", pod("p1", "10.0.0.1"))))
			c := b.watch()
			c.want("10.0.0.1:8080")
			before := c.last("10.0.0.1:8080").Addresses[0]
			b.set(slice("a", as(draining, on("node-7", "zone-8", pod("p1", "10.0.0.1"))), as(draining, pod("p2", "10.0.0.2"))))
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
			if after := c.last("10.0.0.1:8080").Addresses[0]; !before.Equal(after) {
				b.Errorf("the address went from %v to %v, want the same", before, after)
			}
		},
	},
	{
		Name: "replaced-pod-not-noticed",
		Want: "another pod at the same address is published, since its connection is a new one",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			b.set(slice("a", pod("p2", "10.0.0.1")))
			if !c.await(patience, func([]event) bool { return c.info("10.0.0.1:8080").Pod == "p2" }) {
				b.Errorf("within %v: the endpoint is still told to be p1", patience)
			}
		},
	},
}

// info returns what the subject tells of an endpoint in the newest set.
func (c *channel) info(address string) Info {
	read := c.program().Info
	if read == nil {
		c.Fatalf("the subject tells nothing of an endpoint but its address")
	}
	info, ok := read(c.last(address))
	if !ok {
		c.Fatalf("the subject tells nothing of %s", address)
	}
	return info
}

func (c *channel) wantInfo(address string, want Info) {
	if got := c.info(address); got != want {
		c.Errorf("of %s the subject tells %+v, want %+v", address, got, want)
	}
}
