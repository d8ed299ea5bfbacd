package endurance_test

import (
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// growthGoal, in KiB, is what the heap may differ by before and after the same state.
// It is what the runtime and HTTP/2 need now and then: a leak of 30 bytes each time
// is more.
const growthGoal = 256

// Tests that nothing grows while watches end in every way, 10,000 times: ended, reset,
// expired, and resumed from a past that is gone. The Services change at each loss, and
// the change arrives.
func TestSoak_WatchCuts(t *testing.T) {
	const services = 20 // one loss ends all of their watches
	api := spawn(t, roleStandIn)
	builder := k8sresolver.NewBuilder(newClient(t, api.place().config()), quiet())
	write := func(round int) (address string) {
		address = fmt.Sprintf("10.0.%d.%d", round>>8, round&255)
		var all []*discoveryv1.EndpointSlice
		for i := range services {
			e := imagined(i, 10)
			e.Addresses = []string{address}
			all = append(all, newSlice(fmt.Sprint("echo-", i), fmt.Sprint("slice-", i), 8080, e))
		}
		api.set(all...)
		return address
	}
	first := write(0)
	var watchers []*watcher
	for i := range services {
		w := &watcher{updates: make(chan string, 100)}
		r, err := builder.Build(targetOf(fmt.Sprintf("k8s:///echo-%d.%s:grpc", i, namespace)), w, resolver.BuildOptions{})
		must(t, err)
		t.Cleanup(r.Close)
		watchers = append(watchers, w)
		w.await(t, first)
	}
	round := 0
	cut := func(rounds int) {
		for range rounds {
			round++
			api.do("Lose", losses[round%len(losses)], &None{})
			address := write(round)
			for _, w := range watchers {
				w.await(t, address)
			}
		}
	}
	rounds := pick(8, 10_000/services)
	growth(t, "soak.cuts", func() { cut(max(rounds/10, 2*len(losses))) }, func() { cut(rounds) })
	note(t, "soak.cuts.count", float64(rounds*services), "watches")
}

// watcher is a channel that notes the first address of each update.
type watcher struct {
	resolver.ClientConn
	updates chan string
}

func (w *watcher) UpdateState(s resolver.State) error {
	if len(s.Endpoints) > 0 {
		w.updates <- s.Endpoints[0].Addresses[0].Addr
	}
	return nil
}

func (w *watcher) ReportError(error) {}

func (w *watcher) await(t *testing.T, address string) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		select {
		case got := <-w.updates:
			if strings.HasPrefix(got, address+":") {
				return
			}
		case <-timeout.C:
			t.Fatalf("no update with %s within %v", address, patience)
		}
	}
}

func targetOf(raw string) resolver.Target {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err) // a constant
	}
	return resolver.Target{URL: *u}
}

// growth measures by how much goroutines and heap have grown when whole returns,
// against the time after warm-up.
func growth(t *testing.T, name string, warmUp, whole func()) {
	t.Helper()
	warmUp()
	goroutines := settled(-1)
	before := heap()
	whole()
	more := settled(goroutines) - goroutines
	grown := heap() - before
	atMost(t, name+".goroutines", float64(max(more, 0)), "goroutines", 0)
	atMost(t, name+".heap", float64(grown)/(1<<10), "KiB", growthGoal)
}

// settled returns how many goroutines there are: as soon as they are no more than
// wanted, else when their number has not fallen for a while.
func settled(want int) int {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	least, since := runtime.NumGoroutine(), time.Now()
	for least > want && time.Since(since) < pick(300*time.Millisecond, 2*time.Second) {
		<-tick.C
		if n := runtime.NumGoroutine(); n < least {
			least, since = n, time.Now()
		}
	}
	return least
}

// Tests that a channel leaves idle 1,000 times: the first call succeeds at once, with
// no further request to the API server, and nothing grows.
func TestIdleCycles(t *testing.T) {
	api := startScripted(t)
	api.Set(sliceOf(newPods(t, 0).startMany(3)...))
	conn := dial(t, grpc.WithResolvers(k8sresolver.NewBuilder(newClient(t, placeOf(api).config()), quiet())),
		grpc.WithIdleTimeout(10*time.Millisecond))
	var took []time.Duration
	cycle := func(n int) {
		took = nil
		for range n {
			began := time.Now()
			_, err := call(t.Context(), conn)
			must(t, err)
			took = append(took, time.Since(began))
			for state := conn.GetState(); state != connectivity.Idle; state = conn.GetState() {
				if !conn.WaitForStateChange(t.Context(), state) {
					t.Fatal("the channel did not go idle")
				}
			}
		}
	}
	n := pick(20, 1000)
	growth(t, "idle", func() { cycle(n / 10) }, func() { cycle(n) })
	note(t, "idle.first_call.p50", ms(percentile(took, 50)), "ms")
	atMost(t, "idle.first_call.p99", ms(percentile(took, 99)), "ms", 10)
	atMost(t, "idle.requests", float64(len(api.Requests())-1), "requests", 0)
}

// Tests that 1,000 channels are opened, used and closed one after another: nothing
// grows, and Close returns at once.
func TestSoak_OpenAndClose(t *testing.T) {
	api := startScripted(t)
	api.Set(sliceOf(newPods(t, 0).startMany(3)...))
	timed := &timedBuilder{Builder: k8sresolver.NewBuilder(newClient(t, placeOf(api).config()), quiet())}
	var channel []time.Duration
	cycle := func(n int) {
		channel = nil
		for range n {
			conn, err := grpc.NewClient(echoTarget, dialOptions(grpc.WithResolvers(timed))...)
			must(t, err)
			_, err = call(t.Context(), conn)
			must(t, err)
			began := time.Now()
			must(t, conn.Close())
			channel = append(channel, time.Since(began))
		}
	}
	n := pick(20, 1000)
	growth(t, "soak.open", func() { cycle(n / 10); timed.taken() }, func() { cycle(n) })
	resolvers := timed.taken()
	if len(resolvers) != n {
		t.Errorf("%d resolvers were closed, want %d", len(resolvers), n)
	}
	atMost(t, "soak.close.p99", ms(percentile(resolvers, 99)), "ms", 5)
	note(t, "soak.close_channel.p99", ms(percentile(channel, 99)), "ms")
}

// timedBuilder notes how long its resolvers' Close takes.
type timedBuilder struct {
	resolver.Builder
	mu   sync.Mutex
	took []time.Duration // mu
}

func (b *timedBuilder) Build(target resolver.Target, cc resolver.ClientConn, opts resolver.BuildOptions) (resolver.Resolver, error) {
	r, err := b.Builder.Build(target, cc, opts)
	return &timedResolver{Resolver: r, to: b}, err
}

// OverrideAuthority implements resolver.AuthorityOverrider, as the resolver does.
func (b *timedBuilder) OverrideAuthority(target resolver.Target) string {
	return b.Builder.(resolver.AuthorityOverrider).OverrideAuthority(target)
}

func (b *timedBuilder) taken() []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	took := b.took
	b.took = nil
	return took
}

type timedResolver struct {
	resolver.Resolver
	to *timedBuilder
}

func (r *timedResolver) Close() {
	began := time.Now()
	r.Resolver.Close()
	took := time.Since(began)
	r.to.mu.Lock()
	defer r.to.mu.Unlock()
	r.to.took = append(r.to.took, took)
}
