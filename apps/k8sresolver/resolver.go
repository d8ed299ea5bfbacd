package k8sresolver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/rest"
)

// silenceLimit is how long callers wait for the first answer of an API server that
// neither answers nor refuses.
const silenceLimit = 900 * time.Millisecond

type builder struct {
	client    rest.Interface
	namespace string // of targets that name none
	log       *slog.Logger
}

var _ resolver.AuthorityOverrider = (*builder)(nil)

// NewBuilder returns the builder to pass to grpc.WithResolvers. The client is one
// of [NewInClusterClient] or [NewClient]; it may serve many builders.
func NewBuilder(client rest.Interface, opts ...Option) resolver.Builder {
	cfg := config{namespaceFile: serviceAccountNamespace}
	for _, opt := range opts {
		opt(&cfg)
	}
	return &builder{
		client:    client,
		namespace: discoverNamespace(cfg.namespace, cfg.namespaceFile, cfg.defaultNamespace),
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

// Build implements resolver.Builder. It makes no request itself.
func (b *builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	svc, port, err := b.parse(target)
	if err != nil {
		return nil, err
	}
	if b.client == nil {
		return nil, errors.New("k8sresolver: NewBuilder was given no client; make one with NewInClusterClient or NewClient")
	}
	if got := b.client.APIVersion(); got != discoveryv1.SchemeGroupVersion {
		return nil, fmt.Errorf("k8sresolver: the client speaks %q, expected %q; make it with NewInClusterClient or NewClient", got, discoveryv1.SchemeGroupVersion)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &k8sResolver{
		cc:     cc,
		svc:    svc,
		port:   port,
		watch:  newWatch(b.client, svc, b.log),
		cancel: cancel,
	}
	r.running.Go(func() { r.watch.run(ctx) })
	r.running.Go(func() { r.run(ctx) })
	return r, nil
}

// k8sResolver resolves one target for one channel.
type k8sResolver struct {
	cc      resolver.ClientConn
	svc     service
	port    portRef
	watch   *watch
	cancel  context.CancelFunc
	running sync.WaitGroup

	// Fields below belong to the goroutine of run.
	published []endpoint // what gRPC has; empty until there are endpoints
	reported  string     // text of the error that gRPC has; empty when it has none
}

// ResolveNow implements resolver.Resolver: a watch that waits for its next attempt
// tries at once; one that is up has nothing newer to give.
func (r *k8sResolver) ResolveNow(resolver.ResolveNowOptions) { r.watch.retryNow() }

// Close implements resolver.Resolver. It can be called more than once. When it
// returns nothing runs any more and gRPC is not called.
func (r *k8sResolver) Close() {
	r.cancel()
	r.running.Wait()
}

// run is the only caller of gRPC, and holds no lock while it does.
func (r *k8sResolver) run(ctx context.Context) {
	silence := time.NewTimer(silenceLimit)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-silence.C:
			r.report(silenceError(r.svc, silenceLimit))
		case <-r.watch.store.changed:
			if ctx.Err() != nil {
				return // select picks at random when both are ready
			}
			silence.Stop()
			r.publish(r.watch.store.snapshot())
		}
	}
}

func (r *k8sResolver) publish(s snapshot) {
	if !s.synced {
		if s.err != nil {
			r.report(s.err)
		}
		return
	}
	list, t := join(s.slices, r.port)
	// Each update makes a new picker, which starts at random: one that changes
	// nothing disturbs the balance. Errors of UpdateState concern the balancer,
	// and resolving again would not change them.
	if !slices.EqualFunc(list, r.published, endpoint.equal) {
		_ = r.cc.UpdateState(state(list))
		r.published, r.reported = list, ""
	}
	if len(list) == 0 {
		r.report(emptyError(r.svc, r.port, t))
	}
}

// report passes an error on, once for each text.
func (r *k8sResolver) report(err error) {
	if text := err.Error(); text != r.reported {
		r.reported = text
		r.cc.ReportError(err)
	}
}
