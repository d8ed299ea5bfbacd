package conformance

import "time"

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
