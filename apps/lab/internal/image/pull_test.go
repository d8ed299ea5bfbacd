package image_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
)

// serve starts a registry on the loopback that answers with the handler where
// that says so, and returns its address and how to count requests.
func serve(t *testing.T, handler func(w http.ResponseWriter, r *http.Request) (done bool)) (host string, requests func() int) {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // no credentials of who runs the tests
	behind := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	count := make(chan int, 1)
	count <- 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count <- <-count + 1
		if r.Method == http.MethodGet && handler != nil && handler(w, r) {
			return
		}
		behind.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), func() int {
		n := <-count
		count <- n
		return n
	}
}

func push(t *testing.T, ref string, img v1.Image) {
	t.Helper()
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img); err != nil {
		t.Fatal(err)
	}
}

// An image comes from its registry with progress, and the second time from the
// cache without a request, for this machine's architecture where there are more.
func TestPull(t *testing.T) {
	host, requests := serve(t, nil)
	plain := randomImage(t, runtime.GOARCH, nil)
	standIn := randomImage(t, runtime.GOARCH, map[string]string{image.StandInLabel: "a proxy of the tests"})
	push(t, host+"/one/linkerd:1", standIn)
	tag, err := name.NewTag(host + "/many/linkerd:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, multi(t, plain)); err != nil {
		t.Fatal(err)
	}
	digest, err := standIn.Digest()
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(t.TempDir(), "cache")
	for _, test := range []struct {
		name, ref, standIn string
		want               v1.Image
	}{
		{name: "one_platform", ref: host + "/one/linkerd:1", want: standIn, standIn: "a proxy of the tests"},
		{name: "many_platforms", ref: host + "/many/linkerd:1", want: plain},
		{name: "digest", ref: host + "/one/linkerd@" + digest.String(), want: standIn, standIn: "a proxy of the tests"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var details []string
			archive, origin, err := image.Pull(t.Context(), test.ref, cache, runtime.GOARCH, func(text string) { details = append(details, text) })
			if err != nil {
				t.Fatal(err)
			}
			sameImage(t, archive, test.ref, test.want)
			want := image.Origin{Ref: test.ref, From: host, Digest: configName(t, test.want), Created: origin.Created, StandIn: test.standIn}
			if diff := cmp.Diff(want, origin); diff != "" {
				t.Errorf("origin (-want +got):\n%s", diff)
			}
			if len(details) == 0 || !strings.Contains(details[len(details)-1], "pulling "+test.ref+": 0.0 of 0.0 MB") {
				t.Errorf("progress %q, want that it ends with all of the bytes", details)
			}
			before := requests()
			again, origin, err := image.Pull(t.Context(), test.ref, cache, runtime.GOARCH, nil)
			if err != nil || again != archive || origin != want || requests() != before {
				t.Errorf("the second time gives %s, %v, error %v, %d requests, want the same and none", again, origin, err, requests()-before)
			}
		})
	}
}

// Why an image cannot be had is told in one line with the registry's own words,
// and nothing is left in the cache.
func TestPullFails(t *testing.T) {
	blob := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/") }
	var config string // which is a blob, too
	for _, test := range []struct {
		name    string
		handler func(w http.ResponseWriter, r *http.Request) bool
		arch    string // runtime.GOARCH unless it is given
		ref     string // /linkerd:1 unless it is given
		want    []string
	}{
		{name: "unknown_tag", ref: "/linkerd:2", want: []string{"MANIFEST_UNKNOWN"}},
		{name: "unknown_repository", ref: "/nothing:1", want: []string{"NAME_UNKNOWN"}},
		{name: "another_architecture", arch: other(), want: []string{"linux/" + other(), "linux/" + runtime.GOARCH}},
		{
			name: "connection_lost_in_a_blob",
			handler: func(w http.ResponseWriter, r *http.Request) bool {
				if !blob(r) || strings.HasSuffix(r.URL.Path, config) {
					return false
				}
				_, _ = w.Write([]byte("half"))
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			},
			want: []string{"EOF"},
		},
		{
			name: "blob_with_a_short_length",
			handler: func(w http.ResponseWriter, r *http.Request) bool {
				if !blob(r) || strings.HasSuffix(r.URL.Path, config) {
					return false
				}
				_, _ = w.Write([]byte("half"))
				return true
			},
			want: []string{"Content-Length", "4"},
		},
		{
			name: "short_blob",
			handler: func(w http.ResponseWriter, r *http.Request) bool {
				if !blob(r) || strings.HasSuffix(r.URL.Path, config) {
					return false
				}
				_, _ = w.Write([]byte("half"))
				w.(http.Flusher).Flush() // so that it has no length
				return true
			},
			want: []string{"size", "got 4"},
		},
		{
			name: "page_of_a_proxy",
			handler: func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusForbidden)
				_, _ = fmt.Fprint(w, "<html>\n<h1>not\nhere</h1>\n", strings.Repeat("<br>\n", 500))
				return true
			},
			want: []string{"403 Forbidden", "not here", "…"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.arch == "" {
				test.arch = runtime.GOARCH
			}
			if test.ref == "" {
				test.ref = "/linkerd:1"
			}
			ready := false
			host, _ := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
				return ready && test.handler != nil && test.handler(w, r)
			})
			img := randomImage(t, test.arch, nil)
			config = configName(t, img)
			push(t, host+"/linkerd:1", img)
			ready = true
			cache := t.TempDir()
			_, _, err := image.Pull(t.Context(), host+test.ref, cache, runtime.GOARCH, nil)
			oneLine(t, err, append(test.want, "pulling "+host+test.ref)...)
			if l := left(t, cache); l != nil {
				t.Errorf("left in the cache: %q", l)
			}
		})
	}
	t.Run("nobody_listens", func(t *testing.T) {
		server := httptest.NewServer(nil)
		server.Close()
		_, _, err := image.Pull(t.Context(), strings.TrimPrefix(server.URL, "http://")+"/linkerd:1", t.TempDir(), runtime.GOARCH, nil)
		oneLine(t, err, "connection refused")
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v is not ECONNREFUSED", err)
		}
	})
	t.Run("no_tag", func(t *testing.T) {
		_, _, err := image.Pull(t.Context(), "linkerd", t.TempDir(), runtime.GOARCH, nil)
		oneLine(t, err, `"linkerd"`, "tag")
	})
}

// Who interrupts a pull gets it stopped in the middle of a layer, with the
// reason, and nothing is left in the cache.
func TestPullStops(t *testing.T) {
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	img := randomImage(t, runtime.GOARCH, nil)
	config := configName(t, img)
	host, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") || strings.HasSuffix(r.URL.Path, config) {
			return false
		}
		cancel(interrupted)
		<-r.Context().Done()
		return true
	})
	push(t, host+"/linkerd:1", img)
	cache := t.TempDir()
	_, _, err := image.Pull(ctx, host+"/linkerd:1", cache, runtime.GOARCH, nil)
	oneLine(t, err, "pulling "+host+"/linkerd:1")
	if l := left(t, cache); !errors.Is(err, interrupted) || l != nil {
		t.Errorf("error %v, left in the cache: %q, want the reason and nothing", err, l)
	}
}

// silence never answers.
type silence struct{}

func (silence) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// A registry that does not answer is given up after half a minute.
func TestPullWaitsNoLongerThan(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		_, _, err := image.PullBy(t.Context(), linkerd, t.TempDir(), runtime.GOARCH, nil, silence{})
		oneLine(t, err, "pulling "+linkerd, "has not answered within 30s")
		if took := time.Since(started); took != 30*time.Second {
			t.Errorf("it took %s, want 30s", took)
		}
	})
}
