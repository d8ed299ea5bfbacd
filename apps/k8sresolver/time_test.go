package k8sresolver_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/resolver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Tests that an API server which takes the request and never answers is told within
// a second, and that its late answer counts.
func TestTime_Silence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
		answer := make(chan struct{})
		api.refuseIf(func(*http.Request) *apierrors.StatusError { <-answer; return nil })
		began := time.Now()
		cc, _ := build(t, cfg, "k8s:///echo-server:grpc")
		cc.wantError(t, silence, `service "echo-server" in namespace "shop"`)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the error came after %v, want 1 s at most", took)
		}
		close(answer)
		cc.wantEndpoints(t, "10.0.0.1:8080 p1")
	})
}

// Tests that a permission that is granted ten minutes after the start is noticed within
// seconds, and that the callers were not told the same error again and again.
func TestTime_PermissionGrantedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
		api.refuseWith(forbidden("list"))
		cc, _ := build(t, cfg, "k8s:///echo-server:grpc")
		cc.wantError(t, "cannot list resource")
		<-time.After(10 * time.Minute)
		cc.wantNothing(t)
		api.refuseWith(nil)
		began := time.Now()
		cc.wantEndpoints(t, "10.0.0.1:8080 p1")
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("recovered after %v, want 3 s at most", took)
		}
	})
}

// Tests an hour without API server: the endpoints stay, the callers hear nothing,
// attempts are 15 to 30 s apart, and a failed connection shortens the wait.
func TestTime_Outage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
		cc, r := build(t, cfg, "k8s:///echo-server:grpc")
		cc.wantEndpoints(t, "10.0.0.1:8080 p1")
		<-time.After(time.Minute)
		api.taken()

		api.refuseWith(apierrors.NewServiceUnavailable("down"))
		api.cut(true)
		<-time.After(time.Hour)
		cc.wantNothing(t)
		// Each attempt is a streamed list and a plain one.
		if got := len(api.taken()) / 2; got < 120 || got > 260 {
			t.Errorf("%d attempts in an hour, want 120 to 260", got)
		}

		api.refuseWith(nil)
		api.set(newSlice("b", pod("p2", "10.0.0.2", ready)))
		r.ResolveNow(resolver.ResolveNowOptions{})
		began := time.Now()
		cc.wantEndpoints(t, "10.0.0.1:8080 p1", "10.0.0.2:8080 p2")
		if took := time.Since(began); took > time.Second {
			t.Errorf("recovered %v after ResolveNow, want 1 s at most", took)
		}
	})
}

// Tests that an outage of ten seconds is over at most a second after the API server is
// back, and a longer one after a tenth of its time, at most 30 s.
func TestTime_RecoversAfterOutage(t *testing.T) {
	for _, test := range []struct{ outage, want time.Duration }{
		{outage: 500 * time.Millisecond, want: time.Second},
		{outage: 3 * time.Second, want: time.Second},
		{outage: 10 * time.Second, want: time.Second},
		{outage: time.Minute, want: 6 * time.Second},
		{outage: 10 * time.Minute, want: 30 * time.Second},
	} {
		t.Run(test.outage.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, cfg := newInMemoryAPI()
				api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
				cc, _ := build(t, cfg, "k8s:///echo-server:grpc")
				cc.wantEndpoints(t, "10.0.0.1:8080 p1")
				<-time.After(time.Minute)
				api.refuseWith(apierrors.NewServiceUnavailable("down"))
				api.cut(true)
				<-time.After(test.outage)
				api.set(newSlice("b", pod("p2", "10.0.0.2", ready)))
				api.refuseWith(nil)
				began := time.Now()
				got := cc.nextWithin(t, time.Minute)
				if len(got.endpoints) != 2 {
					t.Errorf("the resolver told %+v, want two endpoints", got)
				}
				if took := time.Since(began); took > test.want {
					t.Errorf("recovered after %v, want %v at most", took, test.want)
				}
			})
		})
	}
}

// Tests that a watch which was up for a while is back at once, whether it ended, was
// reset or expired, also when that happens again and again.
func TestTime_ReconnectsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
		cc, _ := build(t, cfg, "k8s:///echo-server:grpc")
		cc.wantEndpoints(t, "10.0.0.1:8080 p1")
		for _, lose := range []func(){
			func() { api.cut(false) },
			func() { api.cut(true) },
			func() { api.compact(); api.cut(false) },
			func() { api.compact(); api.cut(true) },
		} {
			for _, addr := range []string{"10.0.0.2", "10.0.0.3"} {
				<-time.After(time.Minute)
				lose()
				api.set(newSlice("a", pod("p1", addr, ready)))
				began := time.Now()
				cc.wantEndpoints(t, addr+":8080 p1")
				if took := time.Since(began); took > 100*time.Millisecond {
					t.Errorf("blind for %v, want 100 ms at most", took)
				}
			}
		}
	})
}
