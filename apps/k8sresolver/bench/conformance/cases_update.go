package conformance

import (
	"fmt"
	"slices"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// updateCases are about when gRPC is told.
var updateCases = []Case{
	{
		Name: "same-set-published-again",
		Want: "what changes nothing for gRPC is not published: each update makes a new picker",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c := b.watch()
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
			before := len(states(c.history()))
			b.set(slice("a", pod("p2", "10.0.0.2"), pod("p1", "10.0.0.1"))) // in another order
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2"), as(starting, pod("p3", "10.0.0.3"))))
			b.set(slice("b", pod("p2", "10.0.0.2"))) // moves
			b.set(slice("c"))
			b.pause(300 * time.Millisecond)
			b.set(slice("d", pod("p4", "10.0.0.4")))
			c.want("10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.4:8080")
			if got := len(states(c.history())) - before; got != 1 {
				b.Errorf("%d updates for one change, want 1", got)
			}
		},
	},
	{
		Name: "relist-published-again",
		Want: "a list that repeats what is known is not published",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			before := len(states(c.history()))
			b.script.Expire()
			b.pause(time.Second)
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
			if got := len(states(c.history())) - before; got != 1 {
				b.Errorf("%d updates for one change, want 1", got)
			}
		},
	},
	{
		Name: "update-storm-not-coalesced",
		Want: "many events are few updates when an update is dear",
		run: func(b *bench) {
			r := newRecorder()
			r.onUpdate = func() { b.pause(10 * time.Millisecond) }
			b.set(slice("a", pod("p0", "10.0.1.1")))
			c := b.watchWith(r, port)
			c.want("10.0.1.1:8080")
			before := len(states(c.history()))
			const events = 200
			for i := range events { // 100 a second
				b.set(slice("a", pod("p0", fmt.Sprint("10.0.1.", 2+i))))
				b.pause(10 * time.Millisecond)
			}
			c.want(fmt.Sprintf("10.0.1.%d:8080", 1+events))
			if got := len(states(c.history())) - before; got > events/4 {
				b.Errorf("%d updates of 10 ms each for %d events, want a quarter at most", got, events)
			}
		},
	},
	{
		Name: "last-event-of-a-storm-lost",
		Want: "after a burst gRPC has the last set, within a second or two",
		run: func(b *bench) {
			b.set(slice("a", pod("p0", "10.0.1.1")))
			c := b.watch()
			c.want("10.0.1.1:8080")
			for i := range 250 {
				b.set(slice("a", pod("p0", fmt.Sprint("10.0.2.", i))))
			}
			c.wantWithin(soon, "10.0.2.249:8080")
		},
	},
	{
		Name: "first-change-delayed",
		Want: "a change after a quiet time is published at once",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			b.pause(1500 * time.Millisecond)
			b.set(slice("a", pod("p2", "10.0.0.2")))
			c.wantWithin(250*time.Millisecond, "10.0.0.2:8080")
		},
	},
	{
		Name: "removals-lag-additions",
		Want: "no set has what came later and what went earlier at once",
		run: func(b *bench) {
			pods, want := []discoveryv1.Endpoint{pod("x", "10.0.9.9")}, []string(nil)
			b.set(slice("a", pods...))
			c := b.watch()
			c.want("10.0.9.9:8080")
			for i := range 100 {
				name := fmt.Sprint("10.0.1.", i)
				pods = append(pods, pod(name, name))
				want = append(want, name+":8080")
				if i == 50 {
					pods = pods[1:]
				}
				b.set(slice("a", pods...))
			}
			c.want(want...)
			for _, s := range states(c.history()) {
				if got := lines(s); slices.Contains(got, "10.0.9.9:8080") && slices.Contains(got, "10.0.1.51:8080") {
					b.Errorf("gRPC was given a pod that came after another went, and still this one")
				}
			}
		},
	},
	{
		Name: "one-new-pod-moves-connections",
		Want: "a further pod takes away none of the others, or one where only some are used at a time",
		run: func(b *bench) {
			all, _ := many(1, 64)
			b.set(all...)
			c := b.watch()
			if !c.await(patience, func(h []event) bool { return len(published(h)) > 1 }) {
				b.Fatalf("within %v: nothing was published", patience)
			}
			c.settle()
			before := published(c.history())
			all[0].Endpoints = append(all[0].Endpoints, pod("new", "10.200.0.1"))
			b.set(all...)
			c.await(time.Second, func(h []event) bool { return !slices.Equal(published(h), before) })
			after, moved := published(c.history()), 0
			for _, address := range before {
				if !slices.Contains(after, address) {
					moved++
				}
			}
			if moved > 1 || slices.Equal(before, after) && len(before) == 64 {
				b.Errorf("a new pod took away %d of %d connections, want none", moved, len(before))
			}
		},
	},
	{
		Name: "order-shuffles",
		Want: "the order is a property of the set: the same for each channel and after each update",
		run: func(b *bench) {
			all, want := many(4, 10)
			b.set(all...)
			c1, c2 := b.watch(), b.watch()
			c1.want(slices.Clone(want)...)
			c2.want(slices.Clone(want)...)
			first := lines(newest(c1.history()))
			if second := lines(newest(c2.history())); !slices.Equal(first, second) {
				b.Errorf("two channels got %s and %s, want one order", short(first), short(second))
			}
			b.set(slice("z", pod("pz", "10.200.0.1")))
			c1.want(append(slices.Clone(want), "10.200.0.1:8080")...)
			after := slices.DeleteFunc(lines(newest(c1.history())), func(l string) bool { return l == "10.200.0.1:8080" })
			if !slices.Equal(first, after) {
				b.Errorf("the order changed from %s to %s", short(first), short(after))
			}
		},
	},
	{
		Name: "resolve-now-hammers-the-api",
		Want: "gRPC's wish for news makes no request while the watch is up",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			before := len(b.script.Requests())
			for range 100 {
				c.resolveNow()
				b.pause(5 * time.Millisecond)
			}
			if got := len(b.script.Requests()) - before; got > 0 {
				b.Errorf("100 ResolveNow made %d requests, want none", got)
			}
		},
	},
	{
		Name: "resolve-now-within-an-update-deadlocks",
		Want: "no lock is held while gRPC is called, which may call back",
		run: func(b *bench) {
			r := newRecorder()
			b.set(slice("a", pod("p1", "10.0.0.1")))
			var c *channel
			ready := make(chan struct{})
			r.onUpdate = func() {
				select {
				case <-ready:
					c.resolveNow()
				default: // within Build there is no resolver yet
				}
			}
			c = b.watchWith(r, port)
			close(ready)
			c.want("10.0.0.1:8080")
			b.set(slice("a", pod("p2", "10.0.0.2")))
			c.want("10.0.0.2:8080")
			b.set(slice("a", pod("p3", "10.0.0.3")))
			c.want("10.0.0.3:8080")
			if !c.close() {
				b.Errorf("Close has not returned within %v", patience)
			}
		},
	},
}
