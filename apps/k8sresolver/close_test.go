package k8sresolver_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/resolver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// closingChannel closes its resolver when it gets an update, as a balancer may do.
type closingChannel struct {
	resolver.ClientConn
	r       resolver.Resolver // set before there is an answer
	took    time.Duration     // by Close
	ended   bool              // the resolver's goroutine has ended before the update has
	updates chan struct{}
}

func (c *closingChannel) UpdateState(resolver.State) error {
	began := time.Now()
	c.r.Close()
	c.took = time.Since(began)
	select { // what a Close that waits for updates would wait for
	case <-k8sresolver.Done(c.r):
		c.ended = true
	case <-time.After(time.Hour):
	}
	c.updates <- struct{}{}
	return nil
}

// Tests that a channel can close its resolver within UpdateState. A Close that waited
// for the update would be a deadlock: the update would wait for itself. After the update
// gRPC is not called any more, though there is news.
func TestClose_WithinUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
		answer := make(chan struct{})
		api.refuseIf(func(*http.Request) *apierrors.StatusError { <-answer; return nil })
		cc := &closingChannel{updates: make(chan struct{}, 10)}
		r, err := k8sresolver.NewBuilder(newClient(t, cfg), quiet()).Build(target("k8s:///echo-server.shop"), cc, resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		cc.r = r
		close(answer)
		synctest.Wait()
		api.set(newSlice("a", pod("p1", "10.0.0.1", ready), pod("p2", "10.0.0.2", ready)))
		<-k8sresolver.Done(r)
		if cc.took > 0 || cc.ended {
			t.Errorf("Close within an update took %v, and the resolver's goroutine had ended: %t; want 0s and false", cc.took, cc.ended)
		}
		if updates := len(cc.updates); updates != 1 {
			t.Errorf("gRPC was called %d times, want once", updates)
		}
	})
}

// Tests that Close outside of gRPC's calls returns after the resolver's goroutine has
// ended, also when it is called twice at the same time.
func TestClose_Waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.set(deployment(1000, 10)...)
		cc, r := open(t, k8sresolver.NewBuilder(newClient(t, cfg), quiet()), "k8s:///echo-server.shop")
		cc.next(t)
		synctest.Wait()
		for range 2 {
			go r.Close()
		}
		r.Close()
		select {
		case <-k8sresolver.Done(r):
		default:
			t.Error("Close returned before the resolver's goroutine")
		}
	})
}
