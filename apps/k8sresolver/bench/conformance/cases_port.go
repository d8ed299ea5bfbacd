package conformance

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
