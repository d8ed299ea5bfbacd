package conformance

import (
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// lost returns a case of a watch that is lost while the Service changes: all of the
// change arrives within the limit, and callers notice nothing.
func lost(name, want string, limit time.Duration, lose func(*bench), mend func(*bench)) Case {
	return Case{Name: name, Want: want, run: func(b *bench) {
		b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
		c := b.watch()
		c.want("10.0.0.1:8080", "10.0.0.2:8080")
		lose(b)
		b.set(slice("a", pod("p2", "10.0.0.2"), pod("p3", "10.0.0.3")))
		b.set(slice("a", pod("p2", "10.0.0.2"), pod("p4", "10.0.0.4")))
		if mend != nil {
			b.pause(time.Second)
			mend(b)
		}
		c.wantWithin(limit, "10.0.0.2:8080", "10.0.0.4:8080")
		c.wantKept("10.0.0.2:8080")
		c.wantNoError()
	}}
}

// refusedWatch returns a case of a watch that is lost and refused for a second.
func refusedWatch(name, want string, status func() *apierrors.StatusError) Case {
	return lost(name, want, 2*patience,
		func(b *bench) { b.script.RefuseAll(status()) },
		func(b *bench) { b.script.Refuse(nil) })
}

// lossCases are about losing the API after a good set.
var lossCases = []Case{
	lost("ended-watch-goes-blind", "a watch that ends normally is back at once",
		soon, func(b *bench) { b.script.End() }, nil),
	lost("reset-watch-goes-blind", "a watch that is reset is back at once",
		soon, func(b *bench) { b.script.Reset() }, nil),
	lost("expired-version-goes-blind", "a watch that cannot resume, 410, begins with a list at once",
		soon, func(b *bench) { b.script.End(); b.script.Forget() }, nil),
	lost("expired-event-goes-blind", "a watch that is ended by a 410 event begins with a list at once",
		soon, func(b *bench) { b.script.Expire() }, nil),
	lost("silence-clears-the-set", "the set is kept while the API server is silent, and what was missed arrives",
		2*patience, func(b *bench) { b.script.Silence() }, func(b *bench) { b.script.Speak() }),
	refusedWatch("forbidden-mid-life-clears-the-set", "a 403 after a good set changes nothing for callers",
		func() *apierrors.StatusError { return &apierrors.StatusError{ErrStatus: *forbidden()} }),
	refusedWatch("unauthorized-mid-life-clears-the-set", "a 401 after a good set changes nothing for callers",
		func() *apierrors.StatusError { return apierrors.NewUnauthorized("Unauthorized") }),
	refusedWatch("throttled-mid-life-goes-blind", "a 429 after a good set changes nothing for callers",
		func() *apierrors.StatusError { return apierrors.NewTooManyRequests("slow down", 1) }),
	refusedWatch("outage-clears-the-set", "a 503 after a good set changes nothing for callers",
		func() *apierrors.StatusError { return apierrors.NewServiceUnavailable("down") }),
	{
		Name: "tombstone-panics",
		Want: "a slice that was deleted while the watch was down is gone after the next list, time after time",
		run: func(b *bench) {
			b.set(slice("keep", pod("p0", "10.0.0.100")))
			c := b.watch()
			c.want("10.0.0.100:8080")
			for range 3 {
				gone := slice("a", pod("p1", "10.0.0.1"))
				b.set(gone)
				c.want("10.0.0.1:8080", "10.0.0.100:8080")
				b.script.Reset()
				b.script.Forget()
				b.remove(gone)
				c.wantWithin(2*patience, "10.0.0.100:8080")
			}
		},
	},
	{
		Name: "second-cut-panics",
		Want: "watches that end one after the other lose no event",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			for i := range 5 {
				b.script.End()
				address := []string{"10.0.0.2", "10.0.0.3"}[i%2]
				b.set(slice("a", pod("p1", address)))
				c.want(address + ":8080")
			}
		},
	},
	{
		Name: "outage-hammers-the-api",
		Want: "attempts during an outage are spaced out more and more",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			before := len(b.script.Requests())
			b.script.RefuseAll(apierrors.NewServiceUnavailable("down"))
			b.pause(3 * time.Second)
			// With doubled pauses from 100 ms there are six attempts of two requests.
			if got := len(b.script.Requests()) - before; got > 30 {
				b.Errorf("%d requests in 3 s of outage, want 30 at most", got)
			}
		},
	},
	{
		Name: "endless-short-watches-hammer-the-api",
		Want: "watches that end as soon as they begin are spaced out",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			before := len(b.script.Requests())
			for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); {
				b.script.End()
				b.pause(5 * time.Millisecond)
			}
			if got := len(b.script.Requests()) - before; got > 100 {
				b.Errorf("%d requests in 3 s, want 100 at most", got)
			}
		},
	},
	{
		Name: "rotated-token-not-read",
		Want: "a token that the kubelet has replaced is used as soon as the old one is refused",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			b.rotate("second")
			b.script.Accept("second")
			b.script.Reset()
			b.set(slice("a", pod("p2", "10.0.0.2")))
			c.wantWithin(2*patience, "10.0.0.2:8080")
			c.wantNoError()
		},
	},
	{
		Name: "missing-token-clears-the-set",
		Want: "the set is kept while the token's file is gone",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			b.must(os.Remove(b.access.TokenFile))
			b.script.Accept("second")
			b.script.Reset()
			b.pause(time.Second)
			b.rotate("second")
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c.wantWithin(2*patience, "10.0.0.1:8080", "10.0.0.2:8080")
			c.wantKept("10.0.0.1:8080")
			c.wantNoError()
		},
	},
}
