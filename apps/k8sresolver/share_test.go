package k8sresolver_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/resolver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// open builds a resolver for a new recorder; the test closes it.
func open(t *testing.T, builder resolver.Builder, rawTarget string) (*recorder, resolver.Resolver) {
	t.Helper()
	cc := &recorder{told: make(chan told, 1000)}
	r, err := builder.Build(target(rawTarget), cc, resolver.BuildOptions{})
	if err != nil {
		t.Fatalf("Build(%q): %v", rawTarget, err)
	}
	return cc, r
}

// Tests that all channels and builders of a client share one watch for each Service
// and namespace, whatever port they want, and that each hears of each change.
func TestShare_OneWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.set(withPorts(newSlice("a", pod("p1", "10.0.0.1", ready)), port("grpc", 8080), port("admin", 9090)))
		client := newClient(t, cfg)
		type channel struct {
			cc   *recorder
			port int
		}
		var channels []channel
		for range 2 {
			builder := k8sresolver.NewBuilder(client, k8sresolver.WithNamespace("shop"), quiet())
			for range 25 {
				for name, number := range map[string]int{"grpc": 8080, "admin": 9090} {
					cc, r := open(t, builder, "k8s:///echo-server:"+name)
					defer r.Close()
					channels = append(channels, channel{cc, number})
				}
			}
		}
		for _, c := range channels {
			c.cc.wantEndpoints(t, fmt.Sprintf("10.0.0.1:%d p1", c.port))
		}
		api.set(withPorts(newSlice("a", pod("p2", "10.0.0.2", ready)), port("grpc", 8080), port("admin", 9090)))
		for _, c := range channels {
			c.cc.wantEndpoints(t, fmt.Sprintf("10.0.0.2:%d p2", c.port))
		}
		if diff := cmp.Diff([]string{"stream"}, api.taken()); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

// Tests that channels share what they are given, and that a balancer which changes the
// order of its lists changes nobody else's.
func TestShare_States(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.set(newSlice("a", pod("p1", "10.0.0.1", ready), pod("p2", "10.0.0.2", ready)))
		builder := k8sresolver.NewBuilder(newClient(t, cfg), quiet())
		var states []resolver.State
		for range 3 {
			cc := newSink()
			r, err := builder.Build(target("k8s:///echo-server.shop"), cc, resolver.BuildOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			states = append(states, <-cc.updated)
			slices.Reverse(states[0].Endpoints)
			slices.Reverse(states[0].Addresses)
		}
		first, last := states[1], states[2]
		if first.Endpoints[0].Attributes != last.Endpoints[0].Attributes {
			t.Error("two channels have attributes of their own, want the same ones")
		}
		if diff := cmp.Diff(describe(first), describe(last)); diff != "" {
			t.Errorf("two channels have different states (-second +third):\n%s", diff)
		}
		if got, want := states[0].Endpoints[1].Addresses[0], first.Endpoints[0].Addresses[0]; got.Addr != want.Addr {
			t.Errorf("the reversed state ends with %s, want %s", got.Addr, want.Addr)
		}
	})
}

// Tests that a channel finds the endpoints of its predecessor within Build while the
// watch is kept, that the watch followed the changes in between, and that it ends
// five minutes after its last channel.
func TestShare_KeptForFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
		builder := k8sresolver.NewBuilder(newClient(t, cfg), quiet())
		cc, r := open(t, builder, "k8s:///echo-server.shop")
		cc.wantEndpoints(t, "10.0.0.1:8080 p1")
		for range 3 {
			r.Close()
			<-time.After(4 * time.Minute)
			cc, r = open(t, builder, "k8s:///echo-server.shop")
			cc.wantTold(t, "10.0.0.1:8080 p1")
		}
		r.Close()
		api.set(newSlice("a", pod("p2", "10.0.0.2", ready)))
		<-time.After(time.Minute)
		cc, r = open(t, builder, "k8s:///echo-server.shop")
		cc.wantTold(t, "10.0.0.2:8080 p2")
		if diff := cmp.Diff([]string{"stream"}, lists(api.taken())); diff != "" {
			t.Errorf("lists of the kept watch (-want +got):\n%s", diff)
		}

		r.Close()
		<-time.After(5*time.Minute + time.Second)
		if n := api.watching(); n != 0 {
			t.Errorf("%d watches are open 5 minutes after the last channel, want 0", n)
		}
		cc, r = open(t, builder, "k8s:///echo-server.shop")
		defer r.Close()
		cc.wantEndpoints(t, "10.0.0.2:8080 p2")
		if diff := cmp.Diff([]string{"stream"}, lists(api.taken())); diff != "" {
			t.Errorf("lists after the watch ended (-want +got):\n%s", diff)
		}
	})
}

// Tests that a watch which never got an answer is not kept, and that while it is used
// a further channel hears within Build why there is none.
func TestShare_FailingWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.refuseWith(forbidden("list"))
		builder := k8sresolver.NewBuilder(newClient(t, cfg), quiet())
		cc, r := open(t, builder, "k8s:///echo-server.shop")
		cc.wantError(t, "cannot list resource")
		second, r2 := open(t, builder, "k8s:///echo-server.shop")
		select {
		case got := <-second.told:
			if !strings.Contains(got.err, "cannot list resource") {
				t.Errorf("the second channel was told %+v, want the error of the first", got)
			}
		default:
			t.Error("the second channel was told nothing within Build")
		}
		r.Close()
		r2.Close()
		synctest.Wait()
		api.taken()
		<-time.After(time.Minute)
		if got := api.taken(); len(got) > 0 {
			t.Errorf("requests %v after the last channel, want none", got)
		}
	})
}

// Tests that a channel which does not return from UpdateState delays no other, is
// closed nevertheless, and is not called any more.
func TestShare_BlockedChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
		answer := make(chan struct{})
		api.refuseIf(func(*http.Request) *apierrors.StatusError { <-answer; return nil })
		builder := k8sresolver.NewBuilder(newClient(t, cfg), quiet())
		blocked := &blockedChannel{entered: make(chan struct{}, 10), release: make(chan struct{})}
		r, err := builder.Build(target("k8s:///echo-server.shop"), blocked, resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		close(answer)
		<-blocked.entered
		cc, other := open(t, builder, "k8s:///echo-server.shop")
		defer other.Close()
		cc.wantTold(t, "10.0.0.1:8080 p1")
		for i := range 20 {
			<-time.After(time.Second)
			began := time.Now()
			addr := fmt.Sprintf("10.0.1.%d", i)
			api.set(newSlice("a", pod("p1", addr, ready)))
			cc.wantEndpoints(t, addr+":8080 p1")
			if took := time.Since(began); took > 0 {
				t.Fatalf("the other channel was told after %v, want at once", took)
			}
		}
		began := time.Now()
		r.Close()
		r.Close()
		if took := time.Since(began); took > 0 {
			t.Errorf("Close took %v while the channel was blocked, want no wait", took)
		}
		close(blocked.release)
		<-time.After(time.Minute)
		if n := len(blocked.entered); n > 0 {
			t.Errorf("the closed channel was called %d times more", n)
		}
	})
}

type blockedChannel struct {
	resolver.ClientConn
	entered, release chan struct{}
}

func (c *blockedChannel) UpdateState(resolver.State) error {
	c.entered <- struct{}{}
	<-c.release
	return nil
}

func (c *blockedChannel) ReportError(error) { c.entered <- struct{}{} }

// Tests that a closed client leaves nothing behind, and its channels in peace.
func TestClient_Close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
		client := newClient(t, cfg)
		cc, r := open(t, k8sresolver.NewBuilder(client, quiet()), "k8s:///echo-server.shop")
		cc.wantEndpoints(t, "10.0.0.1:8080 p1")
		client.Close()
		client.Close()
		synctest.Wait()
		if n := api.watching(); n != 0 {
			t.Errorf("%d watches are open after Close, want 0", n)
		}
		api.set(newSlice("a", pod("p2", "10.0.0.2", ready)))
		r.ResolveNow(resolver.ResolveNowOptions{})
		<-time.After(time.Hour)
		cc.wantNothing(t)
		r.Close()
	})
}
