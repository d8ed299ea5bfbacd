package k8sresolver

import (
	"cmp"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"
)

// silenceLimit is how long callers wait for the first answer of an API server that
// neither answers nor refuses.
const silenceLimit = 900 * time.Millisecond

type builder struct {
	client    *Client
	namespace string // of targets that name none
	topology  topology
	emptyHold time.Duration
	log       *slog.Logger
}

var _ resolver.AuthorityOverrider = (*builder)(nil)

// NewBuilder returns the builder to pass to grpc.WithResolvers. The client is one
// of [NewInClusterClient] or [NewClient]; it may serve many builders, whose channels
// share its watches.
func NewBuilder(client *Client, opts ...Option) resolver.Builder {
	cfg := config{topology: topology{node: os.Getenv("NODE_NAME"), zone: os.Getenv("POD_ZONE")}}
	for _, opt := range opts {
		opt(&cfg)
	}
	return &builder{
		client:    client,
		namespace: discoverNamespace(cfg.namespace, serviceAccountNamespace, cfg.defaultNamespace),
		topology:  cfg.topology,
		emptyHold: cfg.emptyHold,
		log:       cmp.Or(cfg.logger, slog.Default()),
	}
}

// Scheme implements resolver.Builder.
func (b *builder) Scheme() string { return Scheme }

// OverrideAuthority returns the Service's name in the cluster, service.namespace.svc.
// A port, above all a named one, would not match a certificate.
func (b *builder) OverrideAuthority(target resolver.Target) string {
	svc, _, err := b.parse(target)
	if err != nil {
		return target.Endpoint() // Build gives the error
	}
	return svc.name + "." + svc.namespace + ".svc"
}

func (b *builder) parse(target resolver.Target) (service, portRef, error) {
	svc, port, err := parseTarget(target)
	svc.namespace = cmp.Or(svc.namespace, b.namespace)
	return svc, port, err
}

// Build implements resolver.Builder. It makes no request itself. When the Service is
// watched already, gRPC has the endpoints before it returns.
func (b *builder) Build(target resolver.Target, cc resolver.ClientConn, opts resolver.BuildOptions) (resolver.Resolver, error) {
	svc, port, err := b.parse(target)
	if err != nil {
		return nil, err
	}
	if b.client == nil {
		return nil, errors.New("k8sresolver: NewBuilder was given no client; make one with NewInClusterClient or NewClient")
	}
	w, err := b.client.acquire(svc, b.log)
	if err != nil {
		return nil, err
	}
	r := &k8sResolver{
		client:    b.client,
		watch:     w,
		cc:        cc,
		key:       viewKey{port: port, topology: b.topology},
		emptyHold: b.emptyHold,
		metrics:   newMetrics(opts.MetricsRecorder, target.URL.String(), w.store),
		reader:    w.feed.subscribe(),
		published: empty,
		closing:   make(chan struct{}),
		done:      make(chan struct{}),
	}
	r.publish()
	w.retryNow() // if it waits after a failure
	go r.run()
	return r, nil
}

// k8sResolver resolves one target for one channel.
type k8sResolver struct {
	client    *Client
	watch     *watch
	cc        resolver.ClientConn
	key       viewKey
	emptyHold time.Duration
	metrics   *metrics
	reader    *reader
	closing   chan struct{} // closed by Close
	done      chan struct{} // closed when run has returned

	mu      sync.Mutex // not held while gRPC is called
	closed  bool       // mu; set by Close: no call of gRPC begins any more
	calling bool       // mu; a call of gRPC is running

	// Fields below belong to Build, and after it to the goroutine of run.
	heard      bool      // the API server has answered or refused
	published  digest    // of the set that gRPC has
	reported   string    // text of the error that gRPC has; empty when it has none
	emptySince time.Time // since when an empty set is held back; zero when none is
}

// ResolveNow implements resolver.Resolver. If the watch waits for its next attempt, it
// tries at once. If the watch is up, there is nothing newer.
func (r *k8sResolver) ResolveNow(resolver.ResolveNowOptions) { r.watch.retryNow() }

// Close implements resolver.Resolver. It can be called more than once. No call of gRPC
// begins after it returns. It waits for what the resolver computes, but not for a call
// of gRPC that is running: that call may itself wait for Close, for instance in a
// balancer that closes its channel when it gets an update.
func (r *k8sResolver) Close() {
	r.mu.Lock()
	first, calling := !r.closed, r.calling
	r.closed = true
	r.mu.Unlock()
	if first {
		close(r.closing)
		r.watch.feed.unsubscribe(r.reader)
		r.client.release(r.watch)
		r.metrics.close()
	}
	if !calling {
		<-r.done
	}
}

// call runs f, which calls gRPC, unless the resolver is closed. It reports whether f ran.
func (r *k8sResolver) call(f func()) bool {
	if !r.setCalling(true) {
		return false
	}
	f()
	r.setCalling(false)
	return true
}

// setCalling reports whether the resolver is still open.
func (r *k8sResolver) setCalling(calling bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calling = calling && !r.closed
	return !r.closed
}

// run is the only caller of gRPC after Build has returned.
func (r *k8sResolver) run() {
	defer close(r.done)
	silence := time.NewTimer(silenceLimit)
	defer silence.Stop()
	due := time.NewTimer(silenceLimit)
	due.Stop() // until a set is held back
	defer due.Stop()
	for {
		select {
		case <-r.closing:
			return
		case <-silence.C:
			if !r.heard {
				r.report(silenceError(r.watch.svc, r.client.identity(), silenceLimit))
			}
			continue
		case <-r.reader.changed:
		case <-due.C:
		}
		if left := r.publish(); left > 0 {
			due.Reset(left)
		}
	}
}

// publish brings gRPC up to date, and returns after which time to try again without
// a change, 0 for never.
func (r *k8sResolver) publish() time.Duration {
	v, s := r.watch.view(r.key)
	r.call(func() { r.metrics.saw(v, s) })
	r.heard = r.heard || s.synced || s.err != nil
	if !s.synced {
		if s.err != nil {
			r.report(s.err)
		}
		return 0
	}
	began := time.Now()
	if left := r.hold(v.sum, began); left > 0 {
		return left
	}
	// Each update makes a new picker, which starts at random: one that changes
	// nothing disturbs the balance.
	news := v.sum != r.published
	if news && !r.update(v) {
		return 0
	}
	r.watch.feed.read(r.reader, began, news)
	if v.sum == empty {
		r.report(emptyError(r.watch.svc, r.key.port, v.tally))
	}
	return 0
}

// hold returns how much longer a set must wait before it is published, because it is
// empty and the set before it was not.
func (r *k8sResolver) hold(next digest, now time.Time) time.Duration {
	if next != empty || r.published == empty {
		r.emptySince = time.Time{}
		return 0
	}
	if r.emptySince.IsZero() {
		r.emptySince = now
	}
	return r.emptySince.Add(r.emptyHold).Sub(now)
}

// update gives gRPC a set, unless the resolver is closed. An error of UpdateState
// concerns the balancer, and resolving again would not change it.
func (r *k8sResolver) update(v *view) bool {
	next := v.state()
	return r.call(func() {
		_ = r.cc.UpdateState(next)
		r.published, r.reported = v.sum, ""
		r.metrics.updated()
	})
}

// report gives an error to gRPC, each text once.
func (r *k8sResolver) report(err error) {
	text := err.Error()
	if text == r.reported {
		return
	}
	r.call(func() {
		r.reported = text
		r.cc.ReportError(err)
	})
}
