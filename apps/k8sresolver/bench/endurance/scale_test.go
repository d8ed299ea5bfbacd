package endurance_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/controlplane"
)

// server is an API server: the scripted one or a real one.
type server struct {
	place   Place
	set     func(slices ...*discoveryv1.EndpointSlice)
	watches func() int // of EndpointSlices in the namespace
}

// Tests many endpoints and channels, in a process that is not the API server's: how
// soon all channels have all, what that needs, and how it goes when all endpoints are
// replaced. The whole version takes the real API server.
func TestScale(t *testing.T) {
	const each = 100
	endpoints, many := pick(1000, 10_000), pick(10, 100)
	var api server
	if *full {
		api = realServer(t)
	} else {
		api = scriptedServer(t)
	}
	all := deployment(endpoints, each, oldNetwork)
	api.set(all...)

	program := spawn(t, roleChannels)
	began := time.Now()
	program.do("Open", Program{Place: api.place, Channels: many}, &None{})
	program.await(endpoints, func(s Stats) bool { return s.Complete == many })
	start := program.stat(endpoints)
	note(t, "scale.start.all", ms(start.Last.Sub(began)), "ms")
	var grown int64
	program.do("Heap", None{}, &grown)
	note(t, "scale.heap", float64(grown)/(1<<20), "MiB")
	atMost(t, "scale.watches", float64(api.watches()), "watch", 1)

	// Ten pods of a slice are replaced at a time, in random order as a Deployment does.
	const step = 10
	length := pick(2*time.Second, time.Minute)
	var writes []*discoveryv1.EndpointSlice
	var from []int
	for i, es := range all {
		for j := 0; j < each; j += step {
			writes, from = append(writes, es), append(from, i*each+j)
		}
	}
	rand.Shuffle(len(writes), func(i, j int) {
		writes[i], writes[j] = writes[j], writes[i]
		from[i], from[j] = from[j], from[i]
	})
	before := program.stat(endpoints)
	storm := time.Now()
	tick := time.NewTicker(length / time.Duration(len(writes)))
	defer tick.Stop()
	for i, es := range writes {
		<-tick.C
		for j := range step {
			es.Endpoints[from[i]%each+j] = imagined(from[i]+j, newNetwork)
		}
		api.set(es)
	}
	last := time.Now()
	took := last.Sub(storm)
	program.await(endpoints, func(s Stats) bool { return s.Complete == many && s.New == endpoints })
	after := program.stat(endpoints)
	note(t, "scale.rollout.length", took.Seconds(), "s")
	note(t, "scale.rollout.writes", float64(len(writes)), "writes")
	atMost(t, "scale.rollout.updates", float64(after.Updates-before.Updates)/float64(many)/took.Seconds(), "updates/s", updatesGoal(took))
	note(t, "scale.rollout.cpu", 100*(after.CPU-before.CPU).Seconds()/took.Seconds(), "% of a core")
	note(t, "scale.rollout.lag", ms(max(after.Last.Sub(last), 0)), "ms")
	atMost(t, "scale.rollout.watches", float64(api.watches()), "watch", 1)

	// What Kubernetes compresses since 1.37 is measured both ways.
	plain := spawn(t, roleChannels)
	plain.do("Open", Program{Place: api.place, Channels: 1, Uncompressed: true}, &None{})
	plain.await(endpoints, func(s Stats) bool { return s.New == endpoints })
	read, readPlain := program.stat(0).Read, plain.stat(0).Read
	for i, es := range all {
		es.Endpoints[0] = imagined(i*each, oldNetwork)
		api.set(es)
	}
	for _, p := range []*child{program, plain} {
		p.await(endpoints, func(s Stats) bool { return s.New == endpoints-len(all) })
	}
	atMost(t, "scale.bytes", float64(program.stat(0).Read-read)/float64(endpoints), "B", 195)
	atMost(t, "scale.bytes_uncompressed", float64(plain.stat(0).Read-readPlain)/float64(endpoints), "B", 195)
}

// Tests a storm of single changes on one channel: 1,000 pods, 4,000 events in a
// minute, in a process that is not the API server's. Measured for the resolver alone
// and for a round_robin channel whose pods do not answer.
func TestStorm(t *testing.T) {
	for _, test := range []struct {
		name       string
		roundRobin bool
	}{{"resolver", false}, {"round_robin", true}} {
		t.Run(test.name, func(t *testing.T) { storm(t, "storm."+test.name, test.roundRobin) })
	}
}

// updatesGoal returns how many updates a second a storm of a length may cause. A light
// storm is little more than the burst of 20 that begins it, its first and its last update.
func updatesGoal(took time.Duration) float64 { return pick(10+22/took.Seconds(), 10) }

func storm(t *testing.T, name string, roundRobin bool) {
	t.Helper()
	pods, events, length := 1000, pick(70, 4000), pick(time.Second, time.Minute)
	api := scriptedServer(t)
	all := deployment(pods, 100, oldNetwork)
	api.set(all...)
	program := spawn(t, roleChannels)
	program.do("Open", Program{Place: api.place, Channels: 1, RoundRobin: roundRobin}, &None{})
	program.await(pods, func(s Stats) bool { return s.Complete == 1 })
	<-time.After(pick(200*time.Millisecond, 5*time.Second)) // until the balancer has begun to connect
	before := program.stat(pods)
	tick := time.NewTicker(length / time.Duration(events))
	defer tick.Stop()
	unready := 0
	began := time.Now()
	for i := range events {
		<-tick.C
		es := all[rand.N(len(all))]
		c := &es.Endpoints[rand.N(len(es.Endpoints))].Conditions
		if i == events-1 { // known when it arrives
			es.Endpoints = append(es.Endpoints, imagined(pods, newNetwork))
		} else if c.Ready = new(!*c.Ready); *c.Ready {
			unready--
		} else {
			unready++
		}
		api.set(es)
	}
	last := time.Now()
	took := last.Sub(began)
	program.await(pods+1-unready, func(s Stats) bool { return s.Complete == 1 && s.New == 1 })
	after := program.stat(0)
	updates := float64(after.Updates - before.Updates)
	atMost(t, name+".updates", updates/took.Seconds(), "updates/s", updatesGoal(took))
	atMost(t, name+".cpu", 100*(after.CPU-before.CPU).Seconds()/took.Seconds(), "% of a core", 5)
	atMost(t, name+".lag", ms(max(after.Last.Sub(last), 0)), "ms", 200)
	if roundRobin {
		note(t, name+".update_state", ms(after.PerUpdate), "ms")
	}
}

func scriptedServer(t *testing.T) server {
	t.Helper()
	s := startScripted(t)
	return server{place: placeOf(s), set: s.Set, watches: s.Watches}
}

func realServer(t *testing.T) server {
	t.Helper()
	programs, err := controlplane.Find()
	if err != nil {
		t.Skip("not run:", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cp, err := controlplane.Start(ctx, programs, t.TempDir())
	t.Cleanup(cp.Stop)
	must(t, err)
	must(t, cp.Namespace(ctx, namespace))
	must(t, cp.Grant(ctx, namespace))
	return server{
		place:   Place{URL: cp.URL, CA: cp.CA, Token: controlplane.ClientToken},
		set:     func(slices ...*discoveryv1.EndpointSlice) { t.Helper(); must(t, cp.Apply(t.Context(), slices...)) },
		watches: func() int { t.Helper(); return openWatches(t, cp) },
	}
}

// openWatches reads from the API server's metrics how many watches of EndpointSlices
// in one namespace it serves; its own are not in a namespace.
func openWatches(t *testing.T, cp *controlplane.ControlPlane) int {
	t.Helper()
	text, err := cp.Get(t.Context(), "/metrics")
	must(t, err)
	n := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "apiserver_longrunning_requests{") && strings.Contains(line, `resource="endpointslices"`) &&
			strings.Contains(line, `scope="namespace"`) && strings.Contains(line, `verb="WATCH"`) {
			var one int
			_, err := fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &one)
			must(t, err)
			n += one
		}
	}
	return n
}

func (c *child) stat(endpoints int) Stats {
	c.t.Helper()
	var s Stats
	c.do("Stat", endpoints, &s)
	return s
}

// await waits until the program stands as wanted. It asks seldom, since that costs the
// program CPU time.
func (c *child) await(endpoints int, ok func(Stats) bool) {
	c.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(2 * patience)
	var s Stats
	for time.Now().Before(deadline) {
		if s = c.stat(endpoints); ok(s) {
			return
		}
		<-tick.C
	}
	c.t.Fatalf("the program stands at %+v after %v", s, 2*patience)
}
