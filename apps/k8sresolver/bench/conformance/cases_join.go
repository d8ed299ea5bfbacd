package conformance

import (
	discoveryv1 "k8s.io/api/discovery/v1"
)

// joinCases are about how the slices of a Service become one set.
var joinCases = []Case{
	{
		Name: "last-slice-wins",
		Want: "the set is the union of the Service's slices",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")), slice("b", pod("p2", "10.0.0.2")), slice("c", pod("p3", "10.0.0.3")))
			b.watch().want("10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080")
		},
	},
	{
		Name: "updated-slice-wins",
		Want: "an update of one slice changes the contribution of this slice only",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")), slice("b", pod("p2", "10.0.0.2")))
			c := b.watch()
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p3", "10.0.0.3")))
			c.want("10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080")
			c.wantKept("10.0.0.1:8080", "10.0.0.2:8080")
		},
	},
	{
		Name: "deleted-slice-comes-back",
		Want: "a deleted slice takes its endpoints away",
		run: func(b *bench) {
			gone := slice("a", pod("p1", "10.0.0.1"))
			b.set(gone, slice("b", pod("p2", "10.0.0.2")))
			c := b.watch()
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
			b.remove(gone)
			c.want("10.0.0.2:8080")
			b.set(slice("b", pod("p2", "10.0.0.2"), pod("p3", "10.0.0.3")))
			c.want("10.0.0.2:8080", "10.0.0.3:8080")
		},
	},
	{
		Name: "deleted-slice-takes-shared-addresses",
		Want: "an endpoint stays while another slice has it",
		run: func(b *bench) {
			gone := slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2"))
			b.set(gone, slice("b", pod("p2", "10.0.0.2"), pod("p3", "10.0.0.3")))
			c := b.watch()
			c.want("10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080")
			b.remove(gone)
			c.want("10.0.0.2:8080", "10.0.0.3:8080")
			c.wantKept("10.0.0.2:8080", "10.0.0.3:8080")
		},
	},
	{
		Name: "moved-pod-weighs-double",
		Want: "an endpoint in two slices is one endpoint",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")), slice("b", pod("p2", "10.0.0.2")))
			b.watch().want("10.0.0.1:8080", "10.0.0.2:8080")
		},
	},
	{
		Name: "moved-pod-keeps-its-old-condition",
		Want: "of two copies of an endpoint the one received last counts",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c := b.watch()
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
			b.set(slice("b", as(starting, pod("p2", "10.0.0.2"))))
			c.want("10.0.0.1:8080")
		},
	},
	{
		Name: "second-address-dialled",
		Want: "of an endpoint's addresses the first is used; the API says that they are the same",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1", "10.0.0.101"), pod("p2", "10.0.0.2")))
			b.watch().want("10.0.0.1:8080", "10.0.0.2:8080")
		},
	},
	{
		Name: "fqdn-dialled",
		Want: "slices of names are skipped",
		run: func(b *bench) {
			names := slice("a", pod("p1", "example.com"))
			names.AddressType = discoveryv1.AddressTypeFQDN
			b.set(names, slice("b", pod("p2", "10.0.0.2")))
			c := b.watch()
			c.want("10.0.0.2:8080")
			c.never("example")
		},
	},
	{
		Name: "ipv6-unbracketed",
		Want: "an IPv6 address is in brackets before its port",
		run: func(b *bench) {
			b.set(ipv6(slice("a", pod("p1", "fd00::1"))))
			b.watch().want("[fd00::1]:8080")
		},
	},
	{
		Name: "dual-stack-pod-weighs-double",
		Want: "a pod in an IPv4 and an IPv6 slice is one endpoint of two addresses",
		run: func(b *bench) {
			b.set(
				slice("v4", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")),
				ipv6(slice("v6", pod("p1", "fd00::1"))))
			b.watch().want("10.0.0.1:8080+[fd00::1]:8080", "10.0.0.2:8080")
		},
	},
	{
		Name: "families-overwrite-each-other",
		Want: "pods of one family each are all used",
		run: func(b *bench) {
			b.set(slice("v4", pod("p1", "10.0.0.1")), ipv6(slice("v6", pod("p2", "fd00::2"))))
			b.watch().want("10.0.0.1:8080", "[fd00::2]:8080")
		},
	},
	{
		Name: "another-service-leaks",
		Want: "only slices with the Service's label are used",
		run: func(b *bench) {
			other := slice("other", pod("q1", "10.9.9.9"))
			other.Labels[discoveryv1.LabelServiceName] = "elsewhere"
			b.set(other, slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			c.never("10.9.9.9")
		},
	},
	{
		Name: "relabelled-slice-stays",
		Want: "a slice that loses the Service's label takes its endpoints away",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")), slice("b", pod("p2", "10.0.0.2")))
			c := b.watch()
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
			moved := slice("a", pod("p1", "10.0.0.1"))
			moved.Labels[discoveryv1.LabelServiceName] = "elsewhere"
			b.set(moved)
			c.want("10.0.0.2:8080")
		},
	},
}

// conditionCases are about which endpoints are used, and what happens without any.
var conditionCases = []Case{
	{
		Name: "unready-pods-called",
		Want: "endpoints that are not ready are left out, and come back when they are",
		run: func(b *bench) {
			b.set(slice("a", as(starting, pod("p1", "10.0.0.1")), pod("p2", "10.0.0.2")))
			c := b.watch()
			c.want("10.0.0.2:8080")
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
		},
	},
	{
		Name: "nil-ready-taken-for-unready",
		Want: "a ready condition that is not set means ready",
		run: func(b *bench) {
			b.set(slice("a", as(unknown, pod("p1", "10.0.0.1"))))
			b.watch().want("10.0.0.1:8080")
		},
	},
	{
		Name: "draining-pods-called-beside-ready-ones",
		Want: "terminating endpoints are left out while one is ready",
		run: func(b *bench) {
			b.set(slice("a", as(draining, pod("p1", "10.0.0.1"))), slice("b", pod("p2", "10.0.0.2")))
			c := b.watch()
			c.want("10.0.0.2:8080")
			c.never("10.0.0.1")
		},
	},
	{
		Name: "last-draining-pods-dropped",
		Want: "when none is ready, those that serve while they terminate are used",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1"), as(starting, pod("p2", "10.0.0.2"))))
			c := b.watch()
			c.want("10.0.0.1:8080")
			b.set(slice("a", as(draining, pod("p1", "10.0.0.1")), as(starting, pod("p2", "10.0.0.2"))))
			b.set(slice("b", as(draining, pod("p3", "10.0.0.3"))))
			c.want("10.0.0.1:8080", "10.0.0.3:8080")
		},
	},
	{
		Name: "nil-serving-taken-for-not-serving",
		Want: "a serving condition that is not set means serving",
		run: func(b *bench) {
			c := discoveryv1.EndpointConditions{Ready: &no, Terminating: &yes}
			b.set(slice("a", as(c, pod("p1", "10.0.0.1"))))
			b.watch().want("10.0.0.1:8080")
		},
	},
	{
		Name: "dead-pods-called-as-a-last-resort",
		Want: "pods that neither are ready nor serve are never used",
		run: func(b *bench) {
			b.set(slice("a", pod("p0", "10.0.0.9")))
			c := b.watch()
			c.want("10.0.0.9:8080")
			b.set(slice("a", as(dying, pod("p1", "10.0.0.1")), as(starting, pod("p2", "10.0.0.2"))))
			c.wantNone()
			c.never("10.0.0.1")
			c.never("10.0.0.2")
		},
	},
	{
		Name: "empty-set-not-published",
		Want: "when no endpoint is left gRPC gets an empty set, and the next one when it comes",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			b.set(slice("a"))
			c.wantNone()
			b.set(slice("a", pod("p2", "10.0.0.2")))
			c.want("10.0.0.2:8080")
		},
	},
	{
		Name: "deleted-service-keeps-its-endpoints",
		Want: "when the last slice is deleted gRPC gets an empty set",
		run: func(b *bench) {
			only := slice("a", pod("p1", "10.0.0.1"))
			b.set(only)
			c := b.watch()
			c.want("10.0.0.1:8080")
			b.remove(only)
			c.wantNone()
		},
	},
	{
		Name: "empty-set-without-a-reason",
		Want: "the error of an empty set names the Service, the namespace and how many endpoints are ready",
		run: func(b *bench) {
			b.set(slice("a", as(starting, pod("p1", "10.0.0.1")), as(starting, pod("p2", "10.0.0.2"))), slice("b", as(dying, pod("p3", "10.0.0.3"))))
			b.watch().wantError(patience, service, b.access.Namespace, "0 of 3")
		},
	},
	{
		Name: "missing-service-fails-for-ever",
		Want: "a Service without slices is empty, and is followed once it has some",
		run: func(b *bench) {
			c := b.watch()
			c.wantNone()
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c.want("10.0.0.1:8080")
		},
	},
}
