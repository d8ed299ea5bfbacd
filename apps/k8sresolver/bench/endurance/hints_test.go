package endurance_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// Tests zone hints under calls: none leaves the zone while a pod in it is ready, also
// while the others come and go; and calls reach every pod soon after the hints are
// lost, be it that one endpoint has none or that no local pod is ready.
func TestZoneHints(t *testing.T) {
	const each = 3
	api := startScripted(t)
	all := newPods(t, 0).startMany(2 * each)
	local, remote := all[:each], all[each:]
	hinted := func(c ...discoveryv1.EndpointConditions) *discoveryv1.EndpointSlice {
		es := newSlice(service, "a", all[0].port)
		for i, p := range all {
			e, zone := p.endpoint(ready), "zone-2"
			if i < each {
				e, zone = p.endpoint(c[i]), "zone-1"
			}
			e.Zone, e.Hints = &zone, &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: zone}}}
			es.Endpoints = append(es.Endpoints, e)
		}
		return es
	}
	api.Set(hinted(ready, ready, ready))
	builder := k8sresolver.NewBuilder(newClient(t, placeOf(api).config()), quiet(), k8sresolver.WithZone("zone-1"))
	c := newCalls(t, dial(t, grpc.WithResolvers(builder)), time.Millisecond, local...)

	var calm, busy []time.Duration // after a time without changes, and amid them
	crossed := 0
	for round := range pick(4, 200) {
		api.Set(hinted(ready, ready, ready))
		c.forget()
		c.await(c.onlyLocal)
		c.forget()
		// All but one local pod leave and come back.
		for i := range each {
			conditions := []discoveryv1.EndpointConditions{starting, starting, starting}
			conditions[i] = ready
			api.Set(hinted(conditions...))
			<-time.After(30 * time.Millisecond)
		}
		api.Set(hinted(ready, ready, ready))
		took := &busy
		pause := 5 * time.Millisecond
		if round%4 < 2 {
			took, pause = &calm, 300*time.Millisecond
		}
		<-time.After(pause)
		crossed += c.crossed()
		c.forget()
		began := time.Now()
		want := all
		if round%2 == 0 {
			es := hinted(ready, ready, ready)
			es.Endpoints[round%len(es.Endpoints)].Hints = nil
			api.Set(es)
		} else {
			want = remote
			api.Set(hinted(starting, starting, starting))
		}
		c.await(func() bool { return c.reached(want) })
		*took = append(*took, time.Since(began))
	}
	c.stop()
	note(t, "hints.calls", float64(c.made), "calls")
	atMost(t, "hints.failed", float64(c.failed), "", 0)
	atMost(t, "hints.crossed", float64(crossed), "", 0)
	note(t, "hints.spread.p50", ms(percentile(calm, 50)), "ms")
	atMost(t, "hints.spread.p99", ms(percentile(calm, 99)), "ms", 100)
	note(t, "hints.spread_amid_changes.p99", ms(percentile(busy, 99)), "ms")
}

// calls makes calls, some at a time, with pauses that leave the machine time for other
// things.
type calls struct {
	t     *testing.T
	local map[string]bool
	stop  func()

	mu      sync.Mutex
	changed *sync.Cond // on mu
	made    int
	failed  int
	// Answers of calls that began after forget was called last.
	generation int
	since      map[string]int // by pod
	inRow      int            // local ones since the last other one
}

func newCalls(t *testing.T, conn *grpc.ClientConn, pause time.Duration, local ...*pod) *calls {
	t.Helper()
	c := &calls{t: t, local: make(map[string]bool), since: make(map[string]int)}
	c.changed = sync.NewCond(&c.mu)
	for _, p := range local {
		c.local[p.name] = true
	}
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	c.stop = sync.OnceFunc(func() { cancel(); callers.Wait() })
	t.Cleanup(c.stop)
	for range 4 {
		callers.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for ctx.Err() == nil {
				generation := c.current()
				pod, err := call(context.Background(), conn)
				c.answered(generation, pod, err)
				<-tick.C
			}
		})
	}
	return c
}

func (c *calls) current() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.generation
}

// answered takes note of a call that began in this generation.
func (c *calls) answered(generation int, pod string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	c.made++
	if err != nil {
		c.failed++
		c.t.Errorf("a call failed: %v", err)
		return
	}
	if generation != c.generation {
		return
	}
	c.since[pod]++
	c.inRow++
	if !c.local[pod] {
		c.inRow = 0
	}
}

// await waits until a condition holds, which is looked at after each call.
func (c *calls) await(condition func() bool) {
	c.t.Helper()
	c.awaitWithin(patience, condition)
}

func (c *calls) awaitWithin(limit time.Duration, condition func() bool) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	deadline := time.Now().Add(limit)
	for !condition() && time.Now().Before(deadline) {
		c.changed.Wait()
	}
	if !condition() {
		c.t.Fatalf("not within %v; answers by pod: %v", limit, c.since)
	}
}

// onlyLocal reports whether the latest calls, ten times as many as there are at a time
// and pods, were local. The caller holds mu.
func (c *calls) onlyLocal() bool { return c.inRow >= 60 }

// reached reports whether each of the pods has answered. The caller holds mu.
func (c *calls) reached(all []*pod) bool {
	for _, p := range all {
		if c.since[p.name] == 0 {
			return false
		}
	}
	return true
}

// crossed returns how many answers came from other zones since forget.
func (c *calls) crossed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for pod, answers := range c.since {
		if !c.local[pod] {
			n += answers
		}
	}
	return n
}

func (c *calls) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	c.inRow = 0
	clear(c.since)
}
