package conformance

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/apiserver"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/controlplane"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/faults"
)

// patience is how long a case waits for what must come. It is an order of magnitude
// above what is needed, and what a resolver that fails costs.
const patience = 5 * time.Second

const (
	caseLabel = "conformance"
	service   = "echo"
	port      = "8080"
	token     = controlplane.ClientToken
)

// bench is what a case works on: an API server and a program that uses the subject.
type bench struct {
	*checker
	id      string // unique among the cases that ran
	subject Subject
	access  API // may be changed before the first channel
	script  *apiserver.Server
	cluster *controlplane.ControlPlane
	network *faults.Proxy // between the program and the cluster
	open    func() (*Program, error)
}

var benches atomic.Int64

func newBench(t *checker, s Subject) *bench {
	b := &bench{checker: t, subject: s, id: fmt.Sprintf("%d-%d", os.Getpid(), benches.Add(1))}
	b.access = API{TokenFile: filepath.Join(t.TempDir(), "token"), Namespace: "shop", Node: "node-1", Zone: "zone-1"}
	b.rotate(token)
	b.open = sync.OnceValues(func() (*Program, error) {
		p, err := s.Open(b.access)
		if err == nil && p.Close != nil {
			t.Cleanup(p.Close)
		}
		return p, err
	})
	return b
}

func newScriptedBench(t *checker, s Subject) *bench {
	b := newBench(t, s)
	b.script = apiserver.Start()
	b.script.Accept(token)
	t.Cleanup(b.script.Close)
	b.access.URL, b.access.CA = b.script.URL(), b.script.CA()
	return b
}

func newRealBench(t *checker, s Subject, cp *controlplane.ControlPlane) *bench {
	b := newBench(t, s)
	b.cluster = cp
	b.access.Namespace = "shop-" + b.id
	at, err := url.Parse(cp.URL)
	b.must(err)
	b.network, err = faults.Start(at.Host)
	b.must(err)
	t.Cleanup(b.network.Stop)
	b.access.URL, b.access.CA = "https://"+b.network.Addr(), cp.CA
	b.must(cp.Namespace(t.Context(), b.access.Namespace))
	b.must(cp.Grant(t.Context(), b.access.Namespace))
	return b
}

// must ends the case if its own machinery failed.
func (b *bench) must(err error) {
	if err != nil {
		b.Fatalf("the bench: %v", err)
	}
}

// set creates or updates slices, in the program's own namespace if they name none.
func (b *bench) set(slices ...*discoveryv1.EndpointSlice) {
	if b.script != nil {
		b.script.Set(b.placed(slices)...)
		return
	}
	b.must(b.cluster.Apply(b.Context(), b.placed(slices)...))
}

func (b *bench) remove(slices ...*discoveryv1.EndpointSlice) {
	if b.script != nil {
		b.script.Delete(b.placed(slices)...)
		return
	}
	b.must(b.cluster.Delete(b.Context(), b.placed(slices)...))
}

func (b *bench) placed(slices []*discoveryv1.EndpointSlice) []*discoveryv1.EndpointSlice {
	var all []*discoveryv1.EndpointSlice
	for _, es := range slices {
		es = es.DeepCopy()
		if es.Namespace == "" {
			es.Namespace = b.access.Namespace
		}
		all = append(all, es)
	}
	return all
}

// rotate replaces the program's token as the kubelet does, in one step.
func (b *bench) rotate(token string) {
	next := b.access.TokenFile + ".next"
	b.must(os.WriteFile(next, []byte(token), 0o600))
	b.must(os.Rename(next, b.access.TokenFile))
}

func (b *bench) program() *Program {
	p, err := b.open()
	if err != nil {
		b.Fatalf("the subject cannot be used: %v", err)
	}
	return p
}

// channel is a resolver and the channel that it works for.
type channel struct {
	*bench
	*recorder
	resolver resolver.Resolver
	settled  sync.Once
}

// watch builds a resolver for the Service's port 8080.
func (b *bench) watch() *channel {
	return b.watchPort(port)
}

func (b *bench) watchPort(port string) *channel {
	return b.watchWith(newRecorder(), port)
}

func (b *bench) watchWith(r *recorder, port string) *channel {
	c, err := b.build(r, service, port)
	if err != nil {
		b.Fatalf("Build: %v", err)
	}
	return c
}

func (b *bench) build(r *recorder, service, port string) (*channel, error) {
	return b.buildTarget(r, b.program().Target(service, b.access.Namespace, port))
}

// buildTarget builds a resolver, which it gives patience to, and closes it with the
// case.
func (b *bench) buildTarget(r *recorder, rawTarget string) (*channel, error) {
	p := b.program()
	target, err := url.Parse(rawTarget)
	if err != nil {
		return nil, err
	}
	c := &channel{bench: b, recorder: r}
	built := make(chan error, 1)
	go func() {
		var err error
		c.resolver, err = p.Builder.Build(resolver.Target{URL: *target}, r,
			resolver.BuildOptions{DisableServiceConfig: true, DialCreds: insecure.NewCredentials()})
		built <- err
	}()
	select {
	case err := <-built:
		if err != nil {
			return nil, err
		}
	case <-time.After(patience):
		return nil, fmt.Errorf("it has not returned within %v", patience)
	}
	b.Cleanup(func() { c.close() })
	return c, nil
}

// close closes the resolver and reports whether that ended in time.
func (c *channel) close() bool {
	if !inTime(c.resolver.Close) {
		return false
	}
	c.recorder.close()
	return true
}

// inTime reports whether f, which a subject may hold up, returns within patience.
func inTime(f func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
		return true
	case <-time.After(patience):
		return false
	}
}

// closeAtOnce fails the case if Close takes longer than a loaded machine needs.
func (c *channel) closeAtOnce() {
	began := time.Now()
	if !c.close() || time.Since(began) > time.Second {
		c.Errorf("Close has not returned within a second")
	}
}

func (c *channel) resolveNow() { c.resolver.ResolveNow(resolver.ResolveNowOptions{}) }

// pause lets time go by in which nothing is to happen.
func (b *bench) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.Context().Done():
	}
}
