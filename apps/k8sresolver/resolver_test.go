package k8sresolver_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc/resolver"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newClient returns a client that is closed with the test.
func newClient(tb testing.TB, cfg *rest.Config) *k8sresolver.Client {
	tb.Helper()
	client, err := k8sresolver.NewClient(cfg)
	if err != nil {
		tb.Fatalf("NewClient: %v", err)
	}
	tb.Cleanup(client.Close)
	return client
}

// build builds a resolver against an API server and closes it with the test.
func build(t *testing.T, cfg *rest.Config, rawTarget string) (*recorder, resolver.Resolver) {
	t.Helper()
	cc, r := open(t, k8sresolver.NewBuilder(newClient(t, cfg), k8sresolver.WithNamespace("shop"), quiet()), rawTarget)
	t.Cleanup(func() {
		r.Close()
		cc.mu.Lock()
		defer cc.mu.Unlock()
		cc.closed = true
	})
	return cc, r
}

// Tests a Service's life through one streamed request: several slices, a slice that
// goes, endpoints that leave, and what changes nothing.
func TestResolver_FollowsSlices(t *testing.T) {
	api := newAPIServer()
	a, b := newSlice("a", pod("p1", "10.0.0.1", ready)), newSlice("b", pod("p2", "10.0.0.2", ready))
	other := newSlice("c", pod("q1", "10.9.9.9", ready))
	other.Namespace = "elsewhere"
	api.set(a, b, other)
	cc, _ := build(t, api.start(t), "k8s:///echo-server:grpc")
	cc.wantEndpoints(t, "10.0.0.1:8080 p1", "10.0.0.2:8080 p2")

	api.set(newSlice("b", pod("p2", "10.0.0.2", ready), pod("p3", "10.0.0.3", ready)))
	cc.wantEndpoints(t, "10.0.0.1:8080 p1", "10.0.0.2:8080 p2", "10.0.0.3:8080 p3")

	// A pod that starts is no change to gRPC, and neither is a slice written again.
	api.set(newSlice("b", pod("p2", "10.0.0.2", ready), pod("p3", "10.0.0.3", ready), pod("p4", "10.0.0.4", notReady)))
	api.set(a)
	api.remove(b)
	cc.wantEndpoints(t, "10.0.0.1:8080 p1")

	api.set(newSlice("a", pod("p1", "10.0.0.1", draining), pod("p5", "10.0.0.5", notReady)))
	cc.wantEndpoints(t, "10.0.0.1:8080 p1 terminating")

	api.set(newSlice("a", pod("p1", "10.0.0.1", dying), pod("p5", "10.0.0.5", notReady)))
	cc.wantEndpoints(t)
	cc.wantError(t, `service "echo-server" in namespace "shop": 0 of 2 endpoints ready`)

	api.set(newSlice("a", pod("p5", "10.0.0.5", ready)))
	cc.wantEndpoints(t, "10.0.0.5:8080 p5")
	cc.wantNothing(t)
	if diff := cmp.Diff([]string{"stream"}, api.taken()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// Tests a Service that does not exist, and then does: the callers get an error that
// says so, and no empty set, since gRPC has no connection to close.
func TestResolver_ServiceAppears(t *testing.T) {
	api := newAPIServer()
	cc, _ := build(t, api.start(t), "k8s:///echo-server.shop")
	cc.wantError(t, "there is no EndpointSlice: does the Service exist")
	api.set(newSlice("a"))
	cc.wantError(t, "0 of 0 endpoints ready in 1 EndpointSlices")
	api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
	cc.wantEndpoints(t, "10.0.0.1:8080 p1")
}

// Tests that the port's number is taken from each slice.
func TestResolver_NamedPortPerSlice(t *testing.T) {
	api := newAPIServer()
	api.set(
		newSlice("a", pod("p1", "10.0.0.1", ready)),
		withPorts(newSlice("b", pod("p2", "10.0.0.2", ready)), port("grpc", 9090)),
	)
	cc, _ := build(t, api.start(t), "k8s:///echo-server:grpc")
	cc.wantEndpoints(t, "10.0.0.1:8080 p1", "10.0.0.2:9090 p2")
}

// Tests that a slice that is removed takes away what it alone has: an address that
// another slice has too stays, and removing a slice that is not known changes nothing.
func TestResolver_RemovedSliceSharesAddresses(t *testing.T) {
	api := newAPIServer()
	old := newSlice("old", pod("p1", "10.0.0.1", ready), pod("p2", "10.0.0.2", ready))
	api.set(old, newSlice("new", pod("p2", "10.0.0.2", ready), pod("p3", "10.0.0.3", ready)))
	cc, _ := build(t, api.start(t), "k8s:///echo-server:grpc")
	cc.wantEndpoints(t, "10.0.0.1:8080 p1", "10.0.0.2:8080 p2", "10.0.0.3:8080 p3")
	api.remove(old)
	cc.wantEndpoints(t, "10.0.0.2:8080 p2", "10.0.0.3:8080 p3")
	api.remove(old)
	api.set(newSlice("new", pod("p2", "10.0.0.2", ready)))
	cc.wantEndpoints(t, "10.0.0.2:8080 p2")
	cc.wantNothing(t)
}

// Tests that removals are taken in each form in which a Reflector may give them.
func TestStore_DeletedForms(t *testing.T) {
	es := newSlice("a", pod("p1", "10.0.0.1", ready))
	for name, obj := range map[string]any{
		"object":            es,
		"tombstone":         cache.DeletedFinalStateUnknown{Key: "shop/a", Obj: es},
		"tombstone_of_none": cache.DeletedFinalStateUnknown{Key: "shop/a"},
	} {
		t.Run(name, func(t *testing.T) {
			if left, err := k8sresolver.DeleteFromStore(es, obj); left != 0 || err != nil {
				t.Errorf("after Delete(%T) there are %d slices, error %v, want none", obj, left, err)
			}
		})
	}
	if left, err := k8sresolver.DeleteFromStore(es, "a string"); left != 1 || err == nil {
		t.Errorf("after Delete of a string there are %d slices, error %v, want 1 and an error", left, err)
	}
}

// Tests that failures before the first answer reach the callers within a second,
// with everything that is known, and that the resolver recovers by itself.
func TestResolver_FailureBeforeFirstAnswer(t *testing.T) {
	tests := []struct {
		name   string
		status *apierrors.StatusError
		want   []string
	}{
		{
			name:   "forbidden",
			status: forbidden("list"),
			want: []string{
				`list endpointslices.discovery.k8s.io of service "echo-server" in namespace "shop"`,
				`User "system:serviceaccount:shop:client" cannot list resource`,
				"a Role must grant list and watch",
			},
		},
		{
			name:   "unauthorized",
			status: apierrors.NewUnauthorized("Unauthorized"),
			want:   []string{`in namespace "shop": Unauthorized`, "does not accept the client's token"},
		},
		{
			name:   "too_many_requests",
			status: apierrors.NewTooManyRequests("slow down", 60),
			want:   []string{"list endpointslices", "slow down"},
		},
		{
			name:   "internal_error",
			status: apierrors.NewInternalError(http.ErrServerClosed),
			want:   []string{"list endpointslices", "Internal error"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, cfg := newInMemoryAPI()
				api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
				api.refuseWith(test.status)
				began := time.Now()
				cc, _ := build(t, cfg, "k8s:///echo-server:grpc")
				cc.wantError(t, test.want...)
				if took := time.Since(began); took > time.Second {
					t.Errorf("the error came after %v, want 1 s at most", took)
				}
				api.refuseWith(nil)
				cc.wantEndpoints(t, "10.0.0.1:8080 p1")
			})
		})
	}
}

// Tests that nothing listening at the API server's address is told with it.
func TestResolver_Unreachable(t *testing.T) {
	cc, _ := build(t, &rest.Config{Host: "http://127.0.0.1:1"}, "k8s:///echo-server:grpc")
	cc.wantError(t, "no connection to the API server 127.0.0.1:1", "connection refused", `namespace "shop"`)
}

// Tests that a server without streamed lists is listed and watched.
func TestResolver_ServerWithoutWatchList(t *testing.T) {
	api := newAPIServer()
	api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
	api.refuseIf(func(r *http.Request) *apierrors.StatusError {
		if r.URL.Query().Get("sendInitialEvents") != "" {
			return apierrors.NewInvalid(discoveryv1.SchemeGroupVersion.WithKind("ListOptions").GroupKind(), "", nil)
		}
		return nil
	})
	cc, _ := build(t, api.start(t), "k8s:///echo-server:grpc")
	cc.wantEndpoints(t, "10.0.0.1:8080 p1")
	api.set(newSlice("b", pod("p2", "10.0.0.2", ready)))
	cc.wantEndpoints(t, "10.0.0.1:8080 p1", "10.0.0.2:8080 p2")
	if diff := cmp.Diff([]string{"stream", "list", "watch"}, api.taken()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// Tests that the endpoints stay in use while the watch is lost in each way, that no
// error reaches the callers, and that what was missed arrives.
func TestResolver_LostWatch(t *testing.T) {
	tests := []struct {
		name string
		lose func(*apiServer)
		mend func(*apiServer)
	}{
		{name: "ended", lose: func(api *apiServer) { api.cut(false) }},
		{name: "reset", lose: func(api *apiServer) { api.cut(true) }},
		{name: "expired", lose: func(api *apiServer) { api.compact(); api.cut(true) }},
		{
			name: "forbidden",
			lose: func(api *apiServer) { api.refuseWith(forbidden("watch")); api.cut(true) },
			mend: func(api *apiServer) { api.refuseWith(nil) },
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			api := newAPIServer()
			a := newSlice("a", pod("p1", "10.0.0.1", ready))
			api.set(a)
			cc, r := build(t, api.start(t), "k8s:///echo-server:grpc")
			cc.wantEndpoints(t, "10.0.0.1:8080 p1")

			test.lose(api)
			api.remove(a)
			api.set(newSlice("b", pod("p2", "10.0.0.2", ready)))
			if test.mend != nil {
				r.ResolveNow(resolver.ResolveNowOptions{})
				test.mend(api)
			}
			for {
				got := cc.next(t)
				if got.err != "" && len(got.endpoints) == 0 && !strings.Contains(got.err, "0 of 0 endpoints") {
					t.Fatalf("the resolver told %+v, want no error of the API server", got)
				}
				if cmp.Equal(got.endpoints, []string{"10.0.0.2:8080 p2"}) {
					return
				}
			}
		})
	}
}

// Tests that Close can come at any moment of the start, more than once, and that
// gRPC is not called afterwards.
func TestResolver_CloseDuringStart(t *testing.T) {
	api := newAPIServer()
	api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
	client := newClient(t, api.start(t))
	builder := k8sresolver.NewBuilder(client, quiet())
	for i := range 100 {
		cc, r := open(t, builder, "k8s:///echo-server.shop:grpc")
		select {
		case <-cc.told:
		case <-time.After(time.Duration(i) * 50 * time.Microsecond):
		}
		began := time.Now()
		var both sync.WaitGroup
		both.Go(r.Close)
		both.Go(r.Close)
		both.Wait()
		took := time.Since(began)
		if took > time.Second {
			t.Errorf("Close took %v, want 1 s at most", took)
		}
		cc.mu.Lock()
		cc.closed = true
		cc.mu.Unlock()
		api.set(newSlice("a", pod("p1", "10.0.0.1", ready), pod("p2", "10.0.0.2", ready)))
		r.ResolveNow(resolver.ResolveNowOptions{})
		cc.mu.Lock()
		if len(cc.late) > 0 {
			t.Errorf("after Close the resolver told %+v, want nothing", cc.late)
		}
		cc.mu.Unlock()
	}
}

// Tests what Build refuses.
func TestBuild_Refused(t *testing.T) {
	closed := newClient(t, &rest.Config{Host: "http://127.0.0.1:1"})
	closed.Close()
	tests := []struct {
		name   string
		client *k8sresolver.Client
		target string
		want   string
	}{
		{name: "bad_target", client: closed, target: "k8s:///Echo", want: "upper case"},
		{name: "no_client", target: "k8s:///echo", want: "was given no client"},
		{name: "closed_client", client: closed, target: "k8s:///echo", want: "the client is closed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := k8sresolver.NewBuilder(test.client).Build(target(test.target), nil, resolver.BuildOptions{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Build(%q) error = %v, want it to contain %q", test.target, err, test.want)
			}
		})
	}
}

// Tests that the authority is the Service's name in the cluster, without the port.
func TestOverrideAuthority(t *testing.T) {
	builder := k8sresolver.NewBuilder(nil, k8sresolver.WithNamespace("shop")).(resolver.AuthorityOverrider)
	for raw, want := range map[string]string{
		"k8s:///echo:grpc":     "echo.shop.svc",
		"k8s:///echo.eu:8080":  "echo.eu.svc",
		"k8s:///Not.a.target.": "Not.a.target.",
	} {
		if got := builder.OverrideAuthority(target(raw)); got != want {
			t.Errorf("OverrideAuthority(%q) = %q, want %q", raw, got, want)
		}
	}
}
