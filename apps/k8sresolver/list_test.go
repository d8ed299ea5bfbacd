package k8sresolver_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
)

// Limits of lists and watches.
const (
	stall  = 5 * time.Second
	answer = 20 * time.Second
	whole  = 5 * time.Minute
	plain  = time.Hour

	watchAnswer = 90 * time.Second
)

// lists returns the requests that ask for a list.
func lists(requests []string) []string {
	return slices.DeleteFunc(requests, func(verb string) bool { return verb == "watch" })
}

// never returns when the client gives the request up.
func never(_ string, r *http.Request) { <-r.Context().Done() }

// slowly takes some time over each part of a list.
func slowly(d time.Duration) func(string, *http.Request) {
	return func(_ string, r *http.Request) {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
	}
}

// first lets a fault happen to the first n requests of a verb only.
func first(n int, verb string, fault func(string, *http.Request)) func(string, *http.Request) {
	var happened atomic.Int64 // requests that were given up still run
	return func(v string, r *http.Request) {
		if v == verb && happened.Add(1) <= int64(n) {
			fault(v, r)
		}
	}
}

// expire ends the watches, none of which can resume.
func (s *apiServer) expire() {
	s.compact()
	s.cut(true)
}

// unanswered makes the API server lose requests.
func (s *apiServer) unanswered(lose func(verb string, r *http.Request)) {
	s.refuseIf(func(r *http.Request) *apierrors.StatusError {
		lose(verbOf(r), r)
		return nil
	})
}

// verbOf returns what the API server takes note of.
func verbOf(r *http.Request) string {
	switch query := r.URL.Query(); {
	case query.Get("sendInitialEvents") == "true":
		return "stream"
	case query.Get("watch") == "true":
		return "watch"
	}
	return "list"
}

// startAfter builds a resolver, and wants the silence to be told, and then the endpoints
// of a and b after a time between least and most.
func startAfter(t *testing.T, cfg *rest.Config, least, most time.Duration) *recorder {
	t.Helper()
	began := time.Now()
	cc, _ := build(t, cfg, "k8s:///echo-server:grpc")
	cc.wantError(t, silence+" 900ms")
	got := cc.nextWithin(t, most)
	for got.err != "" {
		got = cc.nextWithin(t, most)
	}
	if diff := cmp.Diff([]string{"10.0.0.1:8080 p1", "10.0.0.2:8080 p2"}, got.endpoints); diff != "" {
		t.Errorf("the resolver told (-want +got):\n%s", diff)
	}
	if took := time.Since(began); took < least || took > most {
		t.Errorf("the endpoints came after %v, want %v to %v", took, least, most)
	}
	return cc
}

// twoSlices returns an API server that has the slices a and b.
func twoSlices() (*apiServer, *rest.Config) {
	api, cfg := newInMemoryAPI()
	api.set(newSlice("a", pod("p1", "10.0.0.1", ready)), newSlice("b", pod("p2", "10.0.0.2", ready)))
	return api, cfg
}

// Tests that a streamed list without an end gives way to a plain one, that those which
// follow within an hour are plain at once, and that a streamed one is tried after it.
func TestList_StreamWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := twoSlices()
		api.endless = true
		cc := startAfter(t, cfg, stall, stall+time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"stream", "list", "watch"}, api.taken()); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}

		for i := range 3 {
			<-time.After(time.Minute)
			api.expire()
			began := time.Now()
			addr := fmt.Sprint("10.0.1.", i)
			api.set(newSlice("a", pod("p1", addr, ready)))
			cc.wantEndpoints(t, "10.0.0.2:8080 p2", addr+":8080 p1")
			if took := time.Since(began); took > time.Second {
				t.Errorf("blind for %v, want 1 s at most", took)
			}
			if diff := cmp.Diff([]string{"list"}, lists(api.taken())); diff != "" {
				t.Errorf("lists (-want +got):\n%s", diff)
			}
		}

		<-time.After(plain)
		api.expire()
		api.set(newSlice("a", pod("p1", "10.0.0.3", ready)))
		cc.wantEndpoints(t, "10.0.0.2:8080 p2", "10.0.0.3:8080 p1")
		if diff := cmp.Diff([]string{"stream", "list"}, lists(api.taken())); diff != "" {
			t.Errorf("lists after an hour (-want +got):\n%s", diff)
		}
		cc.wantNothing(t)
	})
}

// Tests that a Service without slices is known to be empty, though the streamed list
// does not end.
func TestList_EmptyStreamWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		api.endless = true
		began := time.Now()
		cc, _ := build(t, cfg, "k8s:///echo-server:grpc")
		cc.wantError(t, silence+" 900ms")
		cc.wantError(t, "there is no EndpointSlice")
		if took := time.Since(began); took > stall+time.Second {
			t.Errorf("told after %v, want %v at most", took, stall+time.Second)
		}
	})
}

// Tests that changes which follow a streamed list do not pass for its progress.
func TestList_StreamWithNewsWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := twoSlices()
		api.endless = true
		news := time.NewTicker(time.Second)
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for {
				select {
				case <-news.C:
					api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
				case <-stop:
					return
				}
			}
		}()
		startAfter(t, cfg, stall, stall+time.Second)
	})
}

// Tests that a streamed list which is never answered, as when a proxy lacks the means,
// gives way to a plain one, and is not tried again at the next reconnect.
func TestList_StreamNeverAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := twoSlices()
		api.unanswered(func(verb string, r *http.Request) {
			if verb == "stream" {
				never(verb, r)
			}
		})
		cc := startAfter(t, cfg, stall, stall+time.Second)
		<-time.After(time.Minute)
		api.expire()
		api.set(newSlice("b"))
		cc.wantEndpoints(t, "10.0.0.1:8080 p1")
		if diff := cmp.Diff([]string{"stream", "list", "list"}, lists(api.taken())); diff != "" {
			t.Errorf("lists (-want +got):\n%s", diff)
		}
	})
}

// Tests that a streamed list that is closed before its end gives way to a plain one, at
// once, and is tried again the next time.
func TestList_StreamClosedBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := twoSlices()
		api.midway = func(verb string, _ *http.Request) {
			if verb == "stream" {
				<-time.After(2 * time.Second)
				panic(http.ErrAbortHandler)
			}
		}
		cc := startAfter(t, cfg, 2*time.Second, 3*time.Second)
		<-time.After(time.Minute)
		api.expire()
		api.set(newSlice("b"))
		cc.wantEndpoints(t, "10.0.0.1:8080 p1")
		if diff := cmp.Diff([]string{"stream", "list", "stream", "list"}, lists(api.taken())); diff != "" {
			t.Errorf("lists (-want +got):\n%s", diff)
		}
	})
}

// Tests that lists which arrive slowly are waited for, and not asked for again.
func TestList_Slow(t *testing.T) {
	for _, test := range []struct {
		name string
		want []string
	}{
		{"streamed", []string{"stream"}},
		{"plain", []string{"stream", "list"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, cfg := newInMemoryAPI()
				for i := range 10 {
					api.set(newSlice(fmt.Sprint("s", i), pod(fmt.Sprint("p", i), fmt.Sprint("10.0.0.", i), ready)))
				}
				api.midway = slowly(4 * time.Second)
				if test.name == "plain" {
					api.withoutStreams()
				}
				cc, _ := build(t, cfg, "k8s:///echo-server:grpc")
				cc.wantError(t, silence+" 900ms")
				if got := cc.nextWithin(t, whole); len(got.endpoints) != 10 {
					t.Errorf("the resolver told %+v, want ten endpoints", got)
				}
				if diff := cmp.Diff(test.want, lists(api.taken())); diff != "" {
					t.Errorf("lists (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// withoutStreams makes the API server refuse streamed lists, as before Kubernetes 1.32.
func (s *apiServer) withoutStreams() {
	s.refuseIf(func(r *http.Request) *apierrors.StatusError {
		if verbOf(r) == "stream" {
			return apierrors.NewBadRequest("sendInitialEvents is forbidden for watch")
		}
		return nil
	})
}

// unended are ways in which a plain list does not end, twice, with what callers are told
// and after which time.
var unended = []struct {
	name  string
	spoil func(*apiServer)
	want  string
	after time.Duration
}{
	{"stalls", func(s *apiServer) {
		s.withoutStreams()
		s.midway = first(2, "list", never)
	}, "the API server's answer stopped after 100 bytes, and nothing more came within 5s", stall},
	{"stalls_at_once", func(s *apiServer) {
		s.withoutStreams()
		s.midway = first(2, "header", never)
	}, "the API server's answer stopped after 0 bytes, and nothing more came within 5s", stall},
	{"unanswered", func(s *apiServer) {
		streams, lists := first(2, "stream", never), first(2, "list", never)
		s.unanswered(func(verb string, r *http.Request) {
			streams(verb, r)
			lists(verb, r)
		})
	}, "no answer from the API server within 20s", stall + answer},
	{"trickles", func(s *apiServer) {
		s.withoutStreams()
		began := time.Now()
		s.midway = func(verb string, r *http.Request) {
			if time.Since(began) < whole+time.Second {
				slowly(4*time.Second)(verb, r)
			}
		}
		for i := range 1000 {
			s.set(newSlice(fmt.Sprint("many", i), pod(fmt.Sprint("q", i), fmt.Sprint("10.9.", i/250, ".", i%250), notReady)))
		}
	}, "bytes of the API server's answer have arrived within 5m0s, but not its end", whole},
}

// Tests that callers are told how a plain list went wrong, when it did, and that the
// next attempt is made.
func TestList_PlainNeverEnds(t *testing.T) {
	for _, test := range unended {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, cfg := twoSlices()
				test.spoil(api)
				began := time.Now()
				cc, _ := build(t, cfg, "k8s:///echo-server:grpc")
				cc.wantError(t, silence+" 900ms")
				got := cc.nextWithin(t, whole+time.Second)
				if took := time.Since(began); !strings.Contains(got.err, test.want) || took < test.after || took > test.after+time.Second {
					t.Errorf("the resolver told %+v after %v, want %q after %v", got, took, test.want, test.after)
				}
				if got := cc.nextWithin(t, time.Minute); len(got.endpoints) != 2 {
					t.Errorf("the resolver told %+v, want two endpoints", got)
				}
			})
		})
	}
}

// Tests that a plain list is understood in JSON, too, and what callers are told of an
// answer that is none.
func TestList_Formats(t *testing.T) {
	const list = `{"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "metadata": {"resourceVersion": "7"}, "items": [{
		"metadata": {"name": "a", "namespace": "shop"}, "addressType": "IPv4", "ports": [{"name": "grpc", "port": 8080, "protocol": "TCP"}],
		"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "p1", "uid": "u1"}}]}]}`
	for _, test := range []struct{ name, contentType, body, want string }{
		{"json", "application/json", list, ""},
		{"page", "text/html", "<html>welcome</html>", "decoding the API server's answer: "},
		{"status", "application/json", `{"kind": "Status", "apiVersion": "v1", "status": "Success"}`, "the API server answered with a *v1.Status, expected an EndpointSliceList"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch verbOf(r) {
					case "stream":
						w.WriteHeader(http.StatusBadRequest)
					case "list":
						w.Header().Set("Content-Type", test.contentType)
						w.WriteHeader(http.StatusOK)
						_, _ = w.Write([]byte(test.body))
					default:
						<-r.Context().Done()
					}
				})
				cc, _ := build(t, &rest.Config{Host: "http://api", Transport: inMemory{api}}, "k8s:///echo-server:grpc")
				got := cc.next(t)
				if ok := got.err == "" && slices.Equal(got.endpoints, []string{"10.0.0.1:8080 p1"}); test.want == "" && !ok {
					t.Errorf("the resolver told %+v, want 10.0.0.1:8080", got)
				}
				if !strings.Contains(got.err, test.want) {
					t.Errorf("the resolver told %+v, want an error with %q", got, test.want)
				}
			})
		})
	}
}

// Tests that endpoints stay through each kind of list that does not end, that callers
// hear nothing of it, and that the news arrive after it.
func TestList_KeepsEndpoints(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*apiServer)
		blind time.Duration
	}{
		{"endless", func(s *apiServer) { s.endless = true }, stall},
		{"stalled_stream", func(s *apiServer) { s.midway = first(1, "stream", never) }, stall},
		{"lost_stream", func(s *apiServer) { s.unanswered(first(1, "stream", never)) }, stall},
		{"stalled_list", func(s *apiServer) { s.withoutStreams(); s.midway = first(1, "list", never) }, stall},
		{"lost_lists", func(s *apiServer) {
			streams, lists := first(1, "stream", never), first(1, "list", never)
			s.unanswered(func(verb string, r *http.Request) {
				streams(verb, r)
				lists(verb, r)
			})
		}, stall + answer},
		{"lost_watch", func(s *apiServer) { s.unanswered(first(1, "watch", never)) }, watchAnswer},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, cfg := twoSlices()
				cc, _ := build(t, cfg, "k8s:///echo-server:grpc")
				cc.wantEndpoints(t, "10.0.0.1:8080 p1", "10.0.0.2:8080 p2")
				<-time.After(time.Minute)
				test.spoil(api)
				api.expire()
				api.set(newSlice("b", pod("p3", "10.0.0.3", ready)))
				began := time.Now()
				got := cc.nextWithin(t, 2*time.Minute)
				if diff := cmp.Diff(told{endpoints: []string{"10.0.0.1:8080 p1", "10.0.0.3:8080 p3"}}, got, cmp.AllowUnexported(told{})); diff != "" {
					t.Errorf("the resolver told (-want +got):\n%s", diff)
				}
				if took := time.Since(began); took > test.blind+2*time.Second {
					t.Errorf("blind for %v, want %v at most", took, test.blind+2*time.Second)
				}
				cc.wantNothing(t)
			})
		})
	}
}

// Tests that a watch which is silent because nothing changes is left alone for as long as
// the API server may keep it open, and that one which it neither serves nor ends, though
// it was asked to end it within ten minutes, is replaced.
func TestList_SilentWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := twoSlices()
		api.midway = first(1, "watch", never)
		cc, _ := build(t, cfg, "k8s:///echo-server:grpc")
		cc.wantEndpoints(t, "10.0.0.1:8080 p1", "10.0.0.2:8080 p2")
		<-time.After(whole)
		if diff := cmp.Diff([]string{"stream"}, api.taken()); diff != "" {
			t.Errorf("requests within %v of silence (-want +got):\n%s", whole, diff)
		}
		api.cut(false)
		<-time.After(whole)
		if diff := cmp.Diff([]string{"watch"}, api.taken()); diff != "" {
			t.Errorf("requests within %v of silence (-want +got):\n%s", whole, diff)
		}
		api.set(newSlice("b"))
		<-time.After(time.Second)
		cc.wantNothing(t)
		if got := cc.nextWithin(t, 6*time.Minute); len(got.endpoints) != 1 {
			t.Errorf("the resolver told %+v, want one endpoint", got)
		}
	})
}

// Tests that Close does not wait for a list that does not end.
func TestList_Close(t *testing.T) {
	for name, spoil := range map[string]func(*apiServer){
		"endless":      func(s *apiServer) { s.endless = true },
		"stalled_list": func(s *apiServer) { s.withoutStreams(); s.midway = never },
		"unanswered":   func(s *apiServer) { s.unanswered(never) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, cfg := twoSlices()
				spoil(api)
				client := newClient(t, cfg)
				cc, r := build(t, cfg, "k8s:///echo-server:grpc")
				cc.wantError(t, silence)
				<-time.After(stall + time.Second)
				began := time.Now()
				r.Close()
				client.Close()
				if took := time.Since(began); took > time.Second {
					t.Errorf("Close took %v, want 1 s at most", took)
				}
			})
		})
	}
}
