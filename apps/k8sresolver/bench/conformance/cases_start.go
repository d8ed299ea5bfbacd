package conformance

import (
	"net/http"
	"os"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/apiserver"
)

// soon is what callers may have to wait for the first error: one second, and the time
// that a loaded machine adds.
const soon = 2 * time.Second

// startCases are about the time before the first set.
var startCases = []Case{
	{
		Name: "half-a-list-published",
		Want: "nothing is published before the first list is whole",
		run: func(b *bench) {
			b.script.Stall()
			b.set(slice("a", pod("p1", "10.0.0.1")), slice("b", pod("p2", "10.0.0.2")))
			built := make(chan *channel, 1)
			r := newRecorder()
			go func() { // a resolver may list within Build
				c, _ := b.build(r, service, port)
				built <- c
			}()
			b.pause(300 * time.Millisecond)
			b.script.Resume()
			c := <-built
			if c == nil {
				b.Fatalf("Build has failed")
			}
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
			if first := lines(states(c.history())[0]); len(first) != 2 {
				b.Errorf("the first set is %s, want both endpoints", short(first))
			}
		},
	},
	{
		Name: "change-after-the-first-list-lost",
		Want: "what changes while the first set is published is not lost",
		run: func(b *bench) {
			gone := slice("a", pod("p1", "10.0.0.1"))
			b.set(gone, slice("b", pod("p2", "10.0.0.2")))
			r := newRecorder()
			var once sync.Once
			r.onUpdate = func() {
				once.Do(func() {
					b.remove(gone)
					b.set(slice("c", pod("p3", "10.0.0.3")))
				})
			}
			b.watchWith(r, port).want("10.0.0.2:8080", "10.0.0.3:8080")
		},
	},
	{
		Name: "build-blocks",
		Want: "Build makes no request that it waits for",
		run: func(b *bench) {
			b.script.Silence()
			b.program()
			began := time.Now()
			b.watch()
			if took := time.Since(began); took > time.Second {
				b.Errorf("Build took %v while the API server was silent, want it to return at once", took)
			}
		},
	},
	{
		Name: "silent-start-never-ends",
		Want: "the late answer of a silent API server counts",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			b.script.Silence()
			c := b.watch()
			b.pause(1500 * time.Millisecond)
			b.script.Speak()
			c.want("10.0.0.1:8080")
		},
	},
	{
		Name: "streamed-list-required",
		Want: "an API server without streamed lists is listed and watched",
		run: func(b *bench) {
			b.script.WithoutWatchList()
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
		},
	},
	{
		Name: "json-not-understood",
		Want: "an API server that answers in JSON is understood",
		run: func(b *bench) {
			b.script.SpeakJSON()
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
		},
	},
	{
		Name: "thousand-slices-published-one-by-one",
		Want: "a thousand slices are one set, published at once",
		run: func(b *bench) {
			all, want := many(1000, 2)
			b.set(all...)
			c := b.watch()
			c.wantWithin(2*patience, want...)
			if got := len(states(c.history())); got > 3 {
				b.Errorf("%d updates for one set, want 1", got)
			}
		},
	},
}

// refusedStart returns a case of an API server that refuses from the start, and of
// what callers are told.
func refusedStart(name, want string, status *metav1.Status, parts ...string) Case {
	return Case{Name: name, Want: want, run: func(b *bench) {
		b.set(slice("a", pod("p1", "10.0.0.1")))
		b.script.Refuse(func(apiserver.Request) *metav1.Status { return status })
		c := b.watch()
		c.wantError(soon, parts...)
		b.script.Refuse(nil)
		c.wantWithin(2*patience, "10.0.0.1:8080")
	}}
}

func forbidden() *metav1.Status { return apiserver.Forbidden("list", "endpointslices", "shop") }

// failureCases are about an API that does not work before the first set: callers are
// told within a second, and the resolver recovers by itself.
var failureCases = []Case{
	refusedStart("errors-never-reach-the-caller", "a 403 is told to callers within a second, and mended by a Role that comes later",
		forbidden()),
	refusedStart("error-names-nothing", "the error of a 403 names verb, resource, namespace and service account",
		forbidden(), "list", "endpointslices", "shop", "system:serviceaccount:shop:client"),
	refusedStart("unauthorized-burns-the-deadline", "a 401 is told to callers within a second, with the Service and its namespace",
		&apierrors.NewUnauthorized("Unauthorized").ErrStatus, "nauthorized", service, "shop"),
	refusedStart("throttled-start-burns-the-deadline", "a 429 is told to callers within a second, however long the server wants to be left alone",
		&apierrors.NewTooManyRequests("slow down", 1).ErrStatus, service, "shop"),
	refusedStart("broken-server-burns-the-deadline", "a 500 is told to callers within a second",
		&apierrors.NewInternalError(http.ErrServerClosed).ErrStatus, service, "shop"),
	{
		Name: "unreachable-api-burns-the-deadline",
		Want: "a refused connection is told to callers within a second, with the address",
		run: func(b *bench) {
			b.access.URL = "https://127.0.0.1:1"
			b.watch().wantError(soon, "127.0.0.1:1", service, "shop")
		},
	},
	{
		Name: "silent-api-burns-the-deadline",
		Want: "an API server that takes the request and says nothing is told to callers within a second",
		run: func(b *bench) {
			b.script.Silence()
			b.watch().wantError(soon, service, "shop")
		},
	},
	{
		Name: "wrong-ca-burns-the-deadline",
		Want: "a certificate that is not trusted is told to callers within a second",
		run: func(b *bench) {
			var err error
			b.access.CA, _, err = cert.GenerateSelfSignedCertKey("stranger", nil, nil) // which has signed nothing else
			b.must(err)
			b.watch().wantError(soon, "certificate")
		},
	},
	{
		Name: "unreadable-token-burns-the-deadline",
		Want: "a token file that is not there is told, by the constructor, by Build or to callers within a second",
		run: func(b *bench) {
			b.must(os.Remove(b.access.TokenFile))
			if _, err := b.open(); err != nil {
				return
			}
			c, err := b.build(newRecorder(), service, port)
			if err != nil {
				return
			}
			c.wantError(soon, "token")
		},
	},
	{
		Name: "same-error-repeated",
		Want: "callers are told an error once, not with each attempt",
		run: func(b *bench) {
			b.script.Refuse(func(apiserver.Request) *metav1.Status { return forbidden() })
			c := b.watch()
			c.wantError(soon)
			b.pause(2 * time.Second)
			if got := len(failures(c.history())); got > 2 {
				b.Errorf("the caller was told %d errors in 2 s, want one", got)
			}
		},
	},
}
