package k8sresolver_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// Tests that the last endpoints stay in use for as long as WithEmptyHold says and no
// longer, that endpoints which come back within that time are no update, and that
// without the option, and at the start, nothing is held.
func TestEmptyHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		builder := k8sresolver.NewBuilder(newClient(t, cfg), k8sresolver.WithEmptyHold(time.Minute), quiet())
		cc, r := open(t, builder, "k8s:///echo-server.shop")
		defer r.Close()
		cc.wantError(t, "there is no EndpointSlice")
		full, none := newSlice("a", pod("p1", "10.0.0.1", ready)), newSlice("a", pod("p1", "10.0.0.1", notReady))
		api.set(full)
		cc.wantEndpoints(t, "10.0.0.1:8080 p1")

		api.set(none)
		<-time.After(50 * time.Second)
		api.set(full)
		<-time.After(time.Hour)
		cc.wantNothing(t)

		api.set(none)
		<-time.After(30 * time.Second)
		api.set(newSlice("a", pod("p1", "10.0.0.1", dying)))
		<-time.After(29 * time.Second)
		cc.wantNothing(t)
		<-time.After(2 * time.Second)
		cc.wantTold(t)
		cc.wantError(t, "0 of 1 endpoints ready")
		cc.wantNothing(t)

		api.set(full)
		cc.wantEndpoints(t, "10.0.0.1:8080 p1")
		api.set(none)
		<-time.After(30 * time.Second)
		api.set(newSlice("a", pod("p2", "10.0.0.2", ready)))
		cc.wantEndpoints(t, "10.0.0.2:8080 p2")
	})
}
