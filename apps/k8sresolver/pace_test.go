package k8sresolver_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/resolver"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// slowChannel is a channel for which an update takes a time.
type slowChannel struct {
	resolver.ClientConn
	cost  time.Duration
	ended []time.Time
	last  []string
}

func (c *slowChannel) UpdateState(s resolver.State) error {
	time.Sleep(c.cost)
	c.last = describe(s)
	c.ended = append(c.ended, time.Now())
	return nil
}

func (c *slowChannel) ReportError(error) {}

// Tests a rollout's storm, 4,000 events in a minute on 1,000 pods: there are at most
// ten updates a second, they leave most of the time to others, and the last one comes
// at most 200 ms after the last event, unless updates cost so much that a second is
// the limit.
func TestPace_Storm(t *testing.T) {
	const pods, events, length = 1000, 4000, time.Minute
	tests := []struct {
		cost          time.Duration
		wantPerSecond float64
		wantLag       time.Duration
	}{
		{cost: 0, wantPerSecond: 10, wantLag: 200 * time.Millisecond},
		{cost: 10 * time.Millisecond, wantPerSecond: 7, wantLag: 200 * time.Millisecond},
		{cost: 150 * time.Millisecond, wantPerSecond: 1, wantLag: 1500 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.cost.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, cfg := newInMemoryAPI()
				all := deployment(pods, 10)
				api.set(all...)
				cc := &slowChannel{cost: test.cost}
				r, err := k8sresolver.NewBuilder(newClient(t, cfg), quiet()).Build(target("k8s:///echo-server.shop"), cc, resolver.BuildOptions{})
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				<-time.After(10 * time.Second)
				synctest.Wait()
				first := len(cc.ended)
				random := rand.New(rand.NewPCG(1, 2))
				for range events {
					<-time.After(length / events)
					es := all[random.IntN(len(all))]
					e := random.IntN(len(es.Endpoints))
					es.Endpoints[e].Conditions.Ready = new(!*es.Endpoints[e].Conditions.Ready)
					api.set(es)
				}
				end := time.Now()
				<-time.After(10 * time.Second)
				synctest.Wait()
				updates := cc.ended[first:]
				if got := float64(len(updates)) / length.Seconds(); got > test.wantPerSecond || got < test.wantPerSecond/3 {
					t.Errorf("%.1f updates/s, want at most %.0f, and not far less", got, test.wantPerSecond)
				}
				if got := updates[len(updates)-1].Sub(end); got > test.wantLag {
					t.Errorf("the last update ended %v after the last event, want %v at most", got, test.wantLag)
				}
				if want := modelJoin(all, "grpc", 0); !slices.Equal(cc.last, want) {
					t.Errorf("the last update has %d endpoints, want %d and the same ones", len(cc.last), len(want))
				}
			})
		})
	}
}

// Tests that the updates of many channels count together: 20 of them which take 2 ms
// each are updated at most 25 times in ten seconds of changes, all of them as often, and
// a lone change reaches them at once.
func TestPace_ManyChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		change := func(i int) { api.set(newSlice("a", pod("p1", fmt.Sprintf("10.0.%d.%d", i/250, i%250), ready))) }
		change(0)
		builder := k8sresolver.NewBuilder(newClient(t, cfg), quiet())
		var all []*slowChannel
		for range 20 {
			cc := &slowChannel{cost: 2 * time.Millisecond}
			r, err := builder.Build(target("k8s:///echo-server.shop"), cc, resolver.BuildOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			all = append(all, cc)
		}
		<-time.After(10 * time.Second)
		for i := range 1000 {
			change(1 + i)
			<-time.After(10 * time.Millisecond)
		}
		<-time.After(10 * time.Second)
		began := time.Now()
		change(0)
		<-time.After(10 * time.Second)
		synctest.Wait()
		for i, cc := range all {
			if n := len(cc.ended); n < 10 || n > 2+25+1 {
				t.Errorf("channel %d was updated %d times, want 10 to 28", i, n)
			}
			if took := cc.ended[len(cc.ended)-1].Sub(began); took != cc.cost {
				t.Errorf("channel %d had the lone change after %v, want %v", i, took, cc.cost)
			}
			if len(cc.ended) != len(all[0].ended) {
				t.Errorf("channel %d was updated %d times, the first one %d times", i, len(cc.ended), len(all[0].ended))
			}
		}
	})
}

// Tests that a channel which is closed in the middle of an update does not count any
// more: the next changes of another channel are 10 ms apart again.
func TestPace_ClosedChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		change := func(i int) { api.set(newSlice("a", pod("p1", fmt.Sprintf("10.0.0.%d", i), ready))) }
		change(0)
		builder := k8sresolver.NewBuilder(newClient(t, cfg), quiet())
		slow := &slowChannel{cost: 100 * time.Millisecond}
		r, err := builder.Build(target("k8s:///echo-server.shop"), slow, resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		cc, other := open(t, builder, "k8s:///echo-server.shop")
		defer other.Close()
		cc.wantEndpoints(t, "10.0.0.0:8080 p1")
		for i := range 3 { // the slow one is in its third update then
			<-time.After(5 * time.Second)
			change(1 + i)
			cc.wantEndpoints(t, fmt.Sprintf("10.0.0.%d:8080 p1", 1+i))
		}
		<-time.After(50 * time.Millisecond)
		r.Close()
		<-time.After(5 * time.Second)
		change(4)
		cc.wantEndpoints(t, "10.0.0.4:8080 p1")
		began := time.Now()
		change(5)
		cc.wantEndpoints(t, "10.0.0.5:8080 p1")
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("the second change waited for %v, want 10 ms at most", took)
		}
	})
}

// Tests that after a pause a change is published at once, that the next ones are
// joined, and that an addition and a removal that wait go together.
func TestPace_FirstAtOnceThenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
		cc, _ := build(t, cfg, "k8s:///echo-server")
		cc.wantEndpoints(t, "10.0.0.1:8080 p1")
		for range 3 {
			<-time.After(time.Second)
			began := time.Now()
			api.set(newSlice("a", pod("p1", "10.0.0.1", ready), pod("p2", "10.0.0.2", ready)))
			cc.wantEndpoints(t, "10.0.0.1:8080 p1", "10.0.0.2:8080 p2")
			if took := time.Since(began); took > 0 {
				t.Errorf("the first change waited for %v, want none", took)
			}
			api.set(newSlice("b", pod("p3", "10.0.0.3", ready)))
			synctest.Wait()
			api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
			cc.wantEndpoints(t, "10.0.0.1:8080 p1", "10.0.0.3:8080 p3")
			if took := time.Since(began); took > 10*time.Millisecond {
				t.Errorf("the second and third change waited for %v, want 10 ms at most", took)
			}
			<-time.After(time.Second)
			api.remove(newSlice("b"))
			cc.wantEndpoints(t, "10.0.0.1:8080 p1")
		}
	})
}

// Tests that changes which come one by one do not wait for each other: 40 of them about
// 60 ms apart, or 20 of them 10 ms apart, and the same again after a few seconds.
func TestPace_BurstAtOnce(t *testing.T) {
	tests := []struct {
		changes  int
		min, max time.Duration // pause before each
	}{
		{changes: 40, min: 20 * time.Millisecond, max: 100 * time.Millisecond},
		{changes: 20, min: 10 * time.Millisecond, max: 11 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.min), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, cfg := newInMemoryAPI()
				api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
				cc, _ := build(t, cfg, "k8s:///echo-server")
				cc.wantEndpoints(t, "10.0.0.1:8080 p1")
				random := rand.New(rand.NewPCG(1, 2))
				for round := range 3 {
					<-time.After(3 * time.Second)
					for i := range test.changes {
						<-time.After(test.min + time.Duration(random.Int64N(int64(test.max-test.min))))
						began := time.Now()
						addr := fmt.Sprintf("10.0.%d.%d", 1+round, i)
						api.set(newSlice("a", pod("p1", addr, ready)))
						cc.wantEndpoints(t, addr+":8080 p1")
						if took := time.Since(began); took > 0 {
							t.Errorf("round %d: change %d waited for %v, want none", round, i, took)
						}
					}
				}
			})
		})
	}
}

// Tests that changes which cancel each other while they wait are no update, and
// neither are those that gRPC has no use for.
func TestPace_NothingChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		before := newSlice("a", pod("p1", "10.0.0.1", ready))
		api.set(before)
		cc, _ := build(t, cfg, "k8s:///echo-server")
		cc.wantEndpoints(t, "10.0.0.1:8080 p1")
		<-time.After(time.Second)
		after := newSlice("a", pod("p1", "10.0.0.1", ready), pod("p2", "10.0.0.2", ready))
		api.set(after)
		cc.wantEndpoints(t, "10.0.0.1:8080 p1", "10.0.0.2:8080 p2")
		api.set(before)
		api.set(after)
		for i := range 100 {
			<-time.After(time.Second)
			api.set(newSlice("b", pod(fmt.Sprint("starting-", i), "10.0.0.9", notReady)))
			api.cut(i%2 == 0)
		}
		<-time.After(time.Minute)
		cc.wantNothing(t)
	})
}
