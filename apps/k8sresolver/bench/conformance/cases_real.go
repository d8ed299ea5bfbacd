package conformance

import "time"

// clusterCases are about what a real API server does by itself.
var clusterCases = []Case{
	{
		Name: "ten-thousand-endpoints-published-in-parts",
		Want: "a hundred slices of a hundred endpoints are one set",
		run: func(b *bench) {
			all, want := many(100, 100)
			b.set(all...)
			c := b.watch()
			c.wantWithin(3*patience, want...)
			if got := len(states(c.history())); got != 1 {
				b.Errorf("%d updates for one set, want 1", got)
			}
			more := slice("more", pod("more", "10.250.0.1"))
			b.set(more)
			c.want(append(want, "10.250.0.1:8080")...)
		},
	},
	{
		Name: "external-name-hangs",
		Want: "a Service that is a name elsewhere has no slices, and callers are told so",
		run: func(b *bench) {
			b.must(b.cluster.ExternalName(b.Context(), b.access.Namespace, service))
			b.watch().wantError(soon, service, b.access.Namespace)
		},
	},
	{
		Name: "missing-role-burns-the-deadline",
		Want: "without a Role callers are told within a second who may not do what, and a Role that comes later is noticed",
		run: func(b *bench) {
			b.must(b.cluster.Revoke(b.Context(), b.access.Namespace))
			b.set(slice("a", pod("p1", "10.0.0.1")))
			b.pause(500 * time.Millisecond) // for the authorizer's cache
			c := b.watch()
			c.wantError(soon, "endpointslices", b.access.Namespace, "system:serviceaccount:conformance:client")
			b.must(b.cluster.Grant(b.Context(), b.access.Namespace))
			c.wantWithin(3*patience, "10.0.0.1:8080")
		},
	},
	{
		Name: "rejected-token-burns-the-deadline",
		Want: "a token that the API server does not know is told to callers within a second",
		run: func(b *bench) {
			b.rotate("unknown")
			c := b.watch()
			c.wantError(soon, "nauthorized")
		},
	},
	{
		Name: "written-again-published-again",
		Want: "a slice that is written with another annotation changes nothing",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			before := len(states(c.history()))
			touched := slice("a", pod("p1", "10.0.0.1"))
			touched.Annotations = map[string]string{"touched": "true"}
			b.set(touched)
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
			if got := len(states(c.history())) - before; got != 1 {
				b.Errorf("%d updates for one change, want 1", got)
			}
		},
	},
}

// faulty returns a case of a fault between the program and the API server while the
// Service changes. The fault lasts a second or two; what was missed arrives after it,
// and callers notice nothing.
func faulty(name, want string, fail func(*bench) (mend func() error, err error)) Case {
	return Case{Name: name, Want: want, run: func(b *bench) {
		b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
		c := b.watch()
		c.want("10.0.0.1:8080", "10.0.0.2:8080")
		mend, err := fail(b)
		b.must(err)
		b.set(slice("a", pod("p2", "10.0.0.2"), pod("p3", "10.0.0.3")))
		b.pause(time.Second)
		// gRPC asks for news when a connection to a pod fails.
		c.resolveNow()
		b.must(mend())
		c.wantWithin(3*patience, "10.0.0.2:8080", "10.0.0.3:8080")
		c.wantKept("10.0.0.2:8080")
		c.wantNoError()
	}}
}

// faultCases are about the network between the program and a real API server.
var faultCases = []Case{
	faulty("cut-loses-events", "the connection is cut and refused: the set is kept and what was missed arrives",
		func(b *bench) (func() error, error) { return b.network.Cut(), nil }),
	faulty("reset-loses-events", "the connection is reset: the set is kept and what was missed arrives",
		func(b *bench) (func() error, error) { return b.network.Reset() }),
	faulty("black-hole-loses-events", "the network swallows everything: the set is kept and what was missed arrives",
		func(b *bench) (func() error, error) { return b.network.BlackHole() }),
	faulty("slow-network-loses-events", "answers are late and trickle: the set is kept and what was missed arrives",
		func(b *bench) (func() error, error) { return b.network.Slow(500*time.Millisecond, 5) }),
	{
		Name: "half-closed-connection-never-noticed",
		Want: "a connection of which only the own half is left is noticed by its silence, though nothing says that it is dead",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			_, err := b.network.HalfClose()
			b.must(err)
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c.wantWithin(deadConnection, "10.0.0.1:8080", "10.0.0.2:8080")
			c.wantKept("10.0.0.1:8080")
			c.wantNoError()
		},
	},
	{
		Name: "cut-while-deleting-keeps-the-dead",
		Want: "all that was deleted during a cut is gone after it",
		run: func(b *bench) {
			all, want := many(5, 3)
			b.set(all...)
			c := b.watch()
			c.want(append([]string(nil), want...)...)
			mend := b.network.Cut()
			b.remove(all[1:]...)
			b.pause(500 * time.Millisecond)
			b.must(mend())
			c.wantWithin(3*patience, want[:3]...)
		},
	},
	{
		Name: "refused-start-never-ends",
		Want: "an API server that comes up after the program is found, and callers are told meanwhile",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			mend := b.network.Cut()
			c := b.watch()
			c.wantError(soon, "refused")
			b.must(mend())
			c.wantWithin(2*patience, "10.0.0.1:8080")
		},
	},
	{
		Name: "slow-start-burns-the-deadline",
		Want: "an API server that needs seconds to answer is told to callers, and its answer counts",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			mend, err := b.network.Slow(1500*time.Millisecond, 50)
			b.must(err)
			c := b.watch()
			c.wantError(soon, service, b.access.Namespace)
			c.wantWithin(3*patience, "10.0.0.1:8080")
			b.must(mend())
		},
	},
	{
		Name: "flapping-network-loses-events",
		Want: "after five cuts in a row gRPC has the last set",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			for range 5 {
				mend := b.network.Cut()
				b.pause(50 * time.Millisecond)
				b.must(mend())
				b.pause(50 * time.Millisecond)
			}
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c.wantWithin(2*patience, "10.0.0.1:8080", "10.0.0.2:8080")
			c.wantKept("10.0.0.1:8080")
		},
	},
}
