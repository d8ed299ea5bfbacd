package component_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
)

// inProcess answers requests by a handler, without a network.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r = r.Clone(r.Context()); r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	answer := w.Result()
	answer.Request = r
	return answer, nil
}

// newRegistry returns an empty one in this process.
func newRegistry(t *testing.T) (*component.Registry, http.RoundTripper) {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // no credentials of who runs the tests
	r, err := component.ParseRegistry("registry.example/me/lab-components")
	if err != nil {
		t.Fatal(err)
	}
	to := inProcess{registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	r.Through(to)
	return r, to
}

// only makes the component the only one there is.
func only(t *testing.T, c component.Component) {
	t.Helper()
	groups := component.Groups
	t.Cleanup(func() { component.Groups = groups })
	component.Groups = [][]component.Component{{c}}
}

// newBuilt returns a builder whose cache has the component for each platform.
func newBuilt(t *testing.T, root string, c component.Component, platforms ...component.Platform) component.Builder {
	t.Helper()
	b := component.Builder{Root: root, Cache: t.TempDir()}
	for _, on := range platforms {
		b.Host, b.NodeArch = on, on.Arch
		dir, _, err := b.Path(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name := range c.Programs {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("of "+on.String()), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.Host, b.NodeArch = component.Platform{}, ""
	return b
}

// steps notes how each step ended. It compiles nothing.
type steps struct{ ended []string }

var errNotBuilt = errors.New("this test compiles nothing")

func (s *steps) step(ctx context.Context, name string, _ time.Duration, f func(context.Context, func(string)) error) error {
	err := error(nil)
	if !strings.HasPrefix(name, "build ") {
		err = f(ctx, func(string) {})
	} else {
		err = errNotBuilt
	}
	ended := name
	if err != nil {
		ended += ": " + err.Error()
	}
	s.ended = append(s.ended, ended)
	return err
}

func built(ctx context.Context, _ string, _ time.Duration, f func(context.Context, func(string)) error) error {
	return f(ctx, func(string) {})
}

// What is published for each platform is recorded and then fetched, and not published
// again: the registry has it, or the record does.
func TestPublish(t *testing.T) {
	only(t, fake)
	linux, mac := component.Platform{OS: "linux", Arch: "arm64"}, component.Platform{OS: "darwin", Arch: "arm64"}
	platforms := []component.Platform{component.Here(), linux, mac}
	platforms = slices.Compact(platforms)
	root := newRoot(t, fakeFiles())
	b := newBuilt(t, root, fake, platforms...)
	b.Registry, _ = newRegistry(t)
	published := func(anew bool) []component.Published {
		t.Helper()
		all, err := b.Publish(t.Context(), platforms, anew, built)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	all := published(false)
	if len(all) != len(platforms) {
		t.Fatalf("published %v, want one for each of %v", all, platforms)
	}
	if again := published(false); len(again) > 0 {
		t.Errorf("published %v although the registry has it", again)
	}
	if diff := cmp.Diff(all, published(true)); diff != "" {
		t.Errorf("published anew (-want +got):\n%s", diff)
	}

	var lines []string
	for _, p := range all {
		lines = append(lines, p.String())
	}
	read, err := component.ReadPublished(strings.NewReader(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if others, err := component.Record(root, read); err != nil || len(others) > 0 {
		t.Fatalf("not recorded: %v, error %v", others, err)
	}
	if again := published(true); len(again) > 0 {
		t.Errorf("published %v although it is recorded", again)
	}

	b.Cache = t.TempDir()
	for _, on := range platforms {
		b.Host = on
		programs, _, err := b.BuildAll(t.Context(), []component.Component{fake}, (&steps{}).step)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"x", "y", "z"} {
			if content, err := os.ReadFile(filepath.Join(programs["x"], name)); string(content) != "of "+on.String() || err != nil {
				t.Errorf("%s of %s is %q, error %v", name, on, content, err)
			}
		}
	}
}

// What runs in nodes is published for Linux alone.
func TestPublishForNodes(t *testing.T) {
	inNodes := fake
	inNodes.Host = false
	only(t, inNodes)
	linux, mac := component.Platform{OS: "linux", Arch: "arm64"}, component.Platform{OS: "darwin", Arch: "arm64"}
	b := newBuilt(t, newRoot(t, fakeFiles()), inNodes, linux)
	b.Registry, _ = newRegistry(t)
	all, err := b.Publish(t.Context(), []component.Platform{linux, mac}, false, built)
	if err != nil || len(all) != 1 || all[0].Platform != "linux/arm64" {
		t.Errorf("published %v, error %v, want linux/arm64 alone", all, err)
	}
}

// answers lets a transport be changed: change may return another answer.
type answers struct {
	behind http.RoundTripper
	change func(r *http.Request, answer *http.Response) error
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := a.behind.RoundTrip(r)
	if err == nil && a.change != nil {
		if err := a.change(r, answer); err != nil {
			return nil, err
		}
	}
	return answer, err
}

// stalling gives some bytes and then none.
type stalling struct {
	io.Reader
	ctx context.Context
}

func (s stalling) Read(p []byte) (int, error) {
	if n, err := s.Reader.Read(p); err == nil {
		return n, nil
	}
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

// Whatever keeps a component from being fetched is told in one line, leaves nothing
// behind, and the component is compiled. A registry that does not answer is asked once.
func TestFetchFails(t *testing.T) {
	layer := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/") }
	other := packed(t, tar.Header{Typeflag: tar.TypeReg, Name: "x"})
	for _, test := range []struct {
		name   string
		change func(r *http.Request, answer *http.Response) error
		forget bool   // the registry never had it
		want   string // of the step that fetches; "" where nothing is fetched
		silent bool   // no second component is asked for
		limit  time.Duration
	}{
		{name: "miss", forget: true, want: "NAME_UNKNOWN"},
		{
			name: "another_manifest", want: "does not match",
			change: func(r *http.Request, answer *http.Response) error {
				if strings.Contains(r.URL.Path, "/manifests/") {
					content, _ := io.ReadAll(answer.Body)
					answer.Body = io.NopCloser(strings.NewReader(strings.Replace(string(content), "sha256:", "sha256:0", 1)))
				}
				return nil
			},
		},
		{
			name: "another_layer", want: "error verifying",
			change: func(r *http.Request, answer *http.Response) error {
				if layer(r) {
					answer.Body = io.NopCloser(strings.NewReader(string(other)))
				}
				return nil
			},
		},
		{
			name: "cut_in_the_middle", want: "EOF",
			change: func(r *http.Request, answer *http.Response) error {
				if layer(r) {
					answer.Body = io.NopCloser(io.MultiReader(io.LimitReader(answer.Body, 40), errorReader{io.ErrUnexpectedEOF}))
				}
				return nil
			},
		},
		{
			name: "slow", want: "has sent nothing for 30s", silent: true, limit: 31 * time.Second,
			change: func(r *http.Request, answer *http.Response) error {
				if layer(r) {
					answer.Body = io.NopCloser(stalling{io.LimitReader(answer.Body, 40), r.Context()})
				}
				return nil
			},
		},
		{
			name: "no_network", want: "no route to host", silent: true,
			change: func(*http.Request, *http.Response) error { return errors.New("no route to host") },
		},
		{
			name: "forbidden", want: "403", silent: true,
			change: func(_ *http.Request, answer *http.Response) error {
				answer.StatusCode = http.StatusForbidden
				answer.Body = io.NopCloser(strings.NewReader("<html>\nnot here"))
				return nil
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			only(t, fake)
			root := newRoot(t, fakeFiles())
			b := newBuilt(t, root, fake, component.Here())
			r, behind := newRegistry(t)
			b.Registry = r
			all, err := b.Publish(t.Context(), []component.Platform{component.Here()}, false, built)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := component.Record(root, all); err != nil {
				t.Fatal(err)
			}
			if test.forget {
				r, behind = newRegistry(t)
				b.Registry = r
			}
			r.Through(answers{behind, test.change})
			b.Cache = t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				var did steps
				if _, _, err := b.BuildAll(t.Context(), []component.Component{fake}, did.step); !errors.Is(err, errNotBuilt) {
					t.Fatalf("error %v, want %v: it is compiled", err, errNotBuilt)
				}
				if len(did.ended) != 2 || !strings.HasPrefix(did.ended[0], "fetch x v0 from registry.example/me/lab-components: ") ||
					!strings.Contains(did.ended[0], test.want) || strings.Contains(did.ended[0], "\n") {
					t.Errorf("steps %q, want one that fails by %q, and a build", did.ended, test.want)
				}
				if took := time.Since(started); test.limit > 0 && took > test.limit {
					t.Errorf("it took %s, want at most %s", took, test.limit)
				}
				wantNothingLeft(t, b.Cache)
				did = steps{}
				_, _, _ = b.BuildAll(t.Context(), []component.Component{fake}, did.step)
				if asked := len(did.ended) == 2; asked == test.silent {
					t.Errorf("the next steps are %q, want that the registry is asked again: %t", did.ended, !test.silent)
				}
			})
		})
	}
}

type errorReader struct{ error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.error }

// What has no digest of just these sources in the checkout is compiled, whatever the
// registry has.
func TestNotRecorded(t *testing.T) {
	only(t, fake)
	for _, test := range []struct {
		name   string
		record bool
		change func(t *testing.T, root string)
	}{
		{name: "nothing_recorded", change: func(*testing.T, string) {}},
		{name: "changed_since", record: true, change: func(t *testing.T, root string) {
			t.Helper()
			file := filepath.Join(root, "apps", "lab", "components", "x", "more.go")
			if err := os.WriteFile(file, []byte("package main\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := newRoot(t, fakeFiles())
			b := newBuilt(t, root, fake, component.Here())
			b.Registry, _ = newRegistry(t)
			all, err := b.Publish(t.Context(), []component.Platform{component.Here()}, false, built)
			if err != nil {
				t.Fatal(err)
			}
			if test.record {
				if _, err := component.Record(root, all); err != nil {
					t.Fatal(err)
				}
			}
			test.change(t, root)
			b.Cache = t.TempDir()
			var did steps
			if _, _, err := b.BuildAll(t.Context(), []component.Component{fake}, did.step); !errors.Is(err, errNotBuilt) {
				t.Fatal(err)
			}
			if len(did.ended) != 1 {
				t.Errorf("steps %q, want that nothing is fetched", did.ended)
			}
		})
	}
}

// The record takes what is of this checkout's sources, drops what was of others, and
// refuses what is no digest.
func TestRecord(t *testing.T) {
	only(t, fake)
	root := newRoot(t, fakeFiles())
	file := filepath.Join(root, component.Digests)
	digest := "sha256:" + strings.Repeat("a", 64)
	here := component.Here().String()
	current := strings.TrimPrefix(key(t, root, fake), "x-")
	if err := os.WriteFile(file, []byte("linux/riscv64:\n  x: {key: old, digest: '"+digest+"'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	others, err := component.Record(root, []component.Published{
		{Platform: here, Component: "x", Key: current, Digest: digest},
		{Platform: "linux/s390x", Component: "x", Key: "old", Digest: digest},
		{Platform: here, Component: "w", Key: "old", Digest: digest},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(others) != 2 || others[0].Platform != "linux/s390x" || others[1].Component != "w" {
		t.Errorf("not taken: %v, want those of other sources", others)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, recorded, _ := strings.Cut(string(content), "\n")
	if diff := cmp.Diff(here+":\n  x:\n    digest: "+digest+"\n    key: "+current+"\n", recorded); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}

	for name, line := range map[string]string{
		"words": "linux/amd64 x abc", "digest": "linux/amd64 x abc sha256:12", "more": "linux/amd64 x abc " + digest + " y",
	} {
		if got, err := component.ReadPublished(strings.NewReader(line)); err == nil || !strings.Contains(err.Error(), line) {
			t.Errorf("%s: %q is read as %v, error %v, want an error that names it", name, line, got, err)
		}
	}
	for name, content := range map[string]string{
		"digest": here + ":\n  x: {key: " + current + ", digest: 'sha256:12'}\n", "field": here + ":\n  x: {sum: abc}\n", "yaml": "x: [",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		b := component.Builder{Root: root, Cache: t.TempDir()}
		b.Registry, _ = newRegistry(t)
		if _, _, err := b.BuildAll(t.Context(), []component.Component{fake}, (&steps{}).step); err == nil || !strings.Contains(err.Error(), component.Digests) {
			t.Errorf("%s: error %v, want one that names %s", name, err, component.Digests)
		}
	}
}
