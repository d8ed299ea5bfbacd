package conformance

import (
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// shareCases are about several channels in one process.
var shareCases = []Case{
	{
		Name: "one-watch-a-channel",
		Want: "channels to one Service share one watch",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			for range 10 {
				b.watch().want("10.0.0.1:8080")
			}
			b.pause(300 * time.Millisecond) // a second watch would be there by now
			if got := b.script.Watches(); got > 1 {
				b.Errorf("10 channels keep %d watches open, want 1", got)
			}
		},
	},
	{
		Name: "one-watch-a-port",
		Want: "channels to two ports of a Service share one watch",
		run: func(b *bench) {
			b.set(withPorts(slice("a", pod("p1", "10.0.0.1")), tcp("grpc", 8080), tcp("admin", 9090)))
			b.watchPort("8080").want("10.0.0.1:8080")
			b.watchPort("9090").want("10.0.0.1:9090")
			b.pause(300 * time.Millisecond)
			if got := b.script.Watches(); got > 1 {
				b.Errorf("2 channels keep %d watches open, want 1", got)
			}
		},
	},
	{
		Name: "closed-channel-takes-the-watch-along",
		Want: "a channel goes on when another of the same Service is closed",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c1, c2 := b.watch(), b.watch()
			c1.want("10.0.0.1:8080")
			c2.want("10.0.0.1:8080")
			c1.close()
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c2.want("10.0.0.1:8080", "10.0.0.2:8080")
		},
	},
	{
		Name: "second-channel-waits-for-the-api",
		Want: "a further channel has the set within Build",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			b.watch().want("10.0.0.1:8080")
			c := b.watch()
			if got := len(states(c.history())); got == 0 {
				b.Errorf("nothing was published within Build, though the set is known")
			}
		},
	},
	{
		Name: "idle-exit-waits-for-the-api",
		Want: "a channel that comes back from idle minutes later has the set within Build, also while the API is down",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			c.close()
			b.script.RefuseAll(apierrors.NewServiceUnavailable("down"))
			b.watch().wantWithin(time.Second, "10.0.0.1:8080")
		},
	},
	{
		Name: "idle-exit-serves-the-past",
		Want: "what changed while no channel was open is in the set when the next one opens, or soon after",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			c.close()
			b.set(slice("a", pod("p2", "10.0.0.2")))
			b.watch().wantWithin(soon, "10.0.0.2:8080")
		},
	},
}

// closeCases are about the end of a channel.
var closeCases = []Case{
	{
		Name: "close-deadlocks",
		Want: "Close returns at once at each moment of a resolver's life",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			b.program()
			for i := range 30 {
				c := b.watch()
				if i%2 == 0 {
					c.want("10.0.0.1:8080")
				} else {
					b.pause(time.Duration(i) * 100 * time.Microsecond)
				}
				c.closeAtOnce()
			}
		},
	},
	{
		Name: "close-waits-for-a-dead-api",
		Want: "Close returns at once while the API server is silent",
		run: func(b *bench) {
			b.script.Silence()
			c := b.watch()
			b.pause(200 * time.Millisecond)
			c.closeAtOnce()
		},
	},
	{
		Name: "close-waits-for-the-backoff",
		Want: "Close returns at once while the resolver waits for its next attempt",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			b.script.RefuseAll(apierrors.NewTooManyRequests("slow down", 30))
			b.pause(time.Second)
			c.closeAtOnce()
		},
	},
	{
		Name: "second-close-panics",
		Want: "Close can be called more than once, and at the same time",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() { c.closeAtOnce() })
			}
			both.Wait()
			c.closeAtOnce()
		},
	},
	{
		Name: "called-back-after-close",
		Want: "gRPC is not called once Close has returned",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() { // events all the time
				defer close(stopped)
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						b.set(slice("a", pod("p1", []string{"10.0.0.1", "10.0.0.2"}[i%2])))
						b.pause(time.Millisecond)
					}
				}
			}()
			defer func() { close(stop); <-stopped }()
			var closed []*channel
			for range 20 {
				c := b.watch()
				c.await(300*time.Millisecond, func(h []event) bool { return len(h) > 2 })
				c.closeAtOnce()
				closed = append(closed, c)
			}
			b.pause(200 * time.Millisecond)
			for _, c := range closed {
				if got := c.lateEvents(); got > 0 {
					b.Fatalf("gRPC was called %d times after Close", got)
				}
			}
		},
	},
	{
		Name: "resolve-now-after-close-panics",
		Want: "ResolveNow after Close does nothing",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			c.closeAtOnce()
			c.resolveNow()
			c.resolveNow()
		},
	},
	{
		Name: "close-leaks",
		Want: "a hundred resolvers that were closed leave no goroutine and no watch behind",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			open := func() {
				c := b.watch()
				c.want("10.0.0.1:8080")
				// An event that waits for a reader is what a careless watch leaks with.
				b.set(slice("a", pod("p1", "10.0.0.1"), as(starting, pod("p2", "10.0.0.2"))))
				b.set(slice("a", pod("p1", "10.0.0.1")))
				c.closeAtOnce()
			}
			open() // with what is made once
			before := b.goroutines()
			for range 100 {
				open()
			}
			const some = 20
			deadline := time.Now().Add(patience)
			for b.goroutines() > before+some && time.Now().Before(deadline) {
				b.pause(50 * time.Millisecond)
			}
			if got := b.goroutines() - before; got > some {
				b.Errorf("100 resolvers left %d goroutines, want none", got)
			}
			if got := b.script.Watches(); got > 1 {
				b.Errorf("100 resolvers left %d watches, want one at most, kept for the next", got)
			}
		},
	},
}
