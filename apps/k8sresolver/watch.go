package k8sresolver

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

const (
	firstDelay = 50 * time.Millisecond
	// After an outage of ten seconds the watch is back within a second, after a longer one
	// within a tenth of its duration.
	soonDelay   = time.Second
	outageShare = 10
	// Without endpoints each second counts. With endpoints the client can wait, so that
	// it does not disturb the API server's recovery.
	maxDelayBeforeSync = 3 * time.Second
	maxDelay           = 30 * time.Second
	// A watch that lasted this long was healthy: its end does not count as a failure.
	healthyAfter = time.Second
	// gRPC asks for a new resolution with each failed connection.
	wakeGap = time.Second
)

// watch keeps a store equal to what the API server has of one Service, for the channels
// that read its feed.
type watch struct {
	client  *Client
	svc     service
	store   *store
	feed    *feed
	views   views
	log     *slog.Logger
	wake    chan struct{}      // holds one token if a waiting watch must try at once
	cancel  context.CancelFunc // ends what is running; written by start
	running sync.WaitGroup

	unended atomic.Bool // the last streamed list stood still before its end

	logged string // failure that was logged last, empty when its end was logged; of run's goroutine

	// Guarded by Client.mu.
	users  int
	unused time.Time   // when users became 0
	expiry *time.Timer // ends the watch when it stays unused
}

// newWatch returns a watch that is not started. The channels of several builders
// share it, and it logs to the logger of the first.
func newWatch(c *Client, svc service, log *slog.Logger) *watch {
	w := &watch{
		client: c,
		svc:    svc,
		log:    log.With("service", svc.name, "namespace", svc.namespace),
		wake:   make(chan struct{}, 1),
	}
	w.store = newStore(w.synced)
	w.feed = newFeed(w.store)
	return w
}

func (w *watch) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.running.Go(func() { w.run(ctx) })
	w.running.Go(func() { w.feed.run(ctx) })
}

// stop ends the watch without waiting for it.
func (w *watch) stop() { w.cancel() }

// view returns the endpoints of the last round as channels with this key see them. The
// status is not later than they are.
func (w *watch) view(key viewKey) (*view, status) {
	s := w.feed.snapshot()
	if !s.synced {
		return nil, s.status
	}
	v, spent := w.views.of(s, key)
	if spent > 0 {
		w.feed.viewed(key, spent)
	}
	return v, s.status
}

// retryNow shortens the pause before the next attempt; while the watch is up it does
// nothing.
func (w *watch) retryNow() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run returns when the context is done.
func (w *watch) run(ctx context.Context) {
	logger := logr.FromSlogHandler(w.log.Handler())
	reflector := cache.NewReflectorWithOptions(
		&cache.ListWatch{ListWithContextFunc: w.list, WatchFuncWithContext: w.watch},
		&discoveryv1.EndpointSlice{}, w.store,
		cache.ReflectorOptions{
			Name:            "k8sresolver",
			TypeDescription: "EndpointSlice",
			Logger:          &logger,
			// Used only for a 429 within a stream; other pauses are made here,
			// because the Reflector's do not end with the context and are not
			// reset by success.
			Backoff: &wait.Backoff{Duration: firstDelay, Jitter: 1},
		})
	ctx = logr.NewContext(ctx, logger)

	for failures := 0; ctx.Err() == nil; failures++ {
		began, syncs := time.Now(), w.store.status().syncs
		// A streamed list that fails is followed by a plain one, whose failure
		// is returned.
		err := reflector.ListAndWatchWithContext(ctx)
		w.store.setUp(false)
		if err != nil && ctx.Err() == nil {
			w.fail(err)
		}
		if w.store.status().syncs > syncs {
			// It worked. One that breaks again and again gets a short pause.
			failures = 1
			if time.Since(began) >= healthyAfter {
				failures = 0
			}
		}
		w.pause(ctx, began, w.delay(failures))
	}
}

// delay returns the pause after a number of failures in a row: none after the
// first, so that a lost watch is back at once.
func (w *watch) delay(failures int) time.Duration {
	if failures == 0 {
		return 0
	}
	s := w.store.status()
	limit := maxDelay
	if !s.synced {
		limit = maxDelayBeforeSync
	}
	limit = min(limit, max(soonDelay, s.staleness()/outageShare))
	d := min(firstDelay<<min(failures-1, 16), limit)
	return d/2 + rand.N(d/2)
}

func (w *watch) pause(ctx context.Context, began time.Time, d time.Duration) {
	select {
	case <-w.wake: // from the time when the watch was up
	default:
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	deadline := time.Now().Add(d)
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-w.wake:
			if soon := began.Add(wakeGap); soon.Before(deadline) {
				deadline = soon
				timer.Reset(time.Until(soon))
			}
		}
	}
}

func (w *watch) list(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	w.store.setUp(false)
	list, err := w.readList(ctx, opts)
	if err != nil {
		return nil, w.failed("list", err)
	}
	// A plain list that works shows that it is not the API server that is silent.
	if w.unended.CompareAndSwap(true, false) {
		w.client.plain.begin()
		w.log.Warn("the API server does not end its streamed lists, asking for plain ones", "for", plainFor)
	}
	return list, nil
}

func (w *watch) watch(ctx context.Context, opts metav1.ListOptions) (apiwatch.Interface, error) {
	w.store.setUp(false)
	opts.Watch = true
	if opts.SendInitialEvents != nil {
		return w.streamList(ctx, opts)
	}
	opened, err := w.open(ctx, opts, watchLimit)
	if err != nil {
		return nil, w.failed("watch", err)
	}
	w.store.setUp(true) // what was missed follows
	return opened, nil
}

// streamList returns a streamed list. An error makes the Reflector ask for a plain one.
func (w *watch) streamList(ctx context.Context, opts metav1.ListOptions) (apiwatch.Interface, error) {
	if w.client.plain.on() {
		return nil, errPlain
	}
	opened, err := w.open(ctx, opts, stallLimit)
	_, silent := errors.AsType[noAnswer](err)
	w.unended.Store(silent)
	if err != nil {
		return nil, w.failed("watch", err)
	}
	return newStreamedList(opened, func() { w.unended.Store(true) }), nil
}

func (w *watch) failed(verb string, cause error) error {
	return &requestError{verb: verb, svc: w.svc, as: w.client.identity(), cause: cause, proxy: w.client.proxy}
}

func (w *watch) request(opts *metav1.ListOptions) *rest.Request {
	opts.LabelSelector = labels.Set{discoveryv1.LabelServiceName: w.svc.name}.String()
	return w.client.api.Get().
		Namespace(w.svc.namespace).
		Resource("endpointslices").
		VersionedParams(opts, metav1.ParameterCodec).
		MaxRetries(0) // run retries, and needs the reason
}

// fail publishes why an attempt failed. An expired resource version is no failure: the
// next attempt begins with a whole list.
func (w *watch) fail(err error) {
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return
	}
	if request, ok := errors.AsType[*requestError](err); ok {
		err = request // without the Reflector's prefix
	}
	w.store.fail(err)
	if text := err.Error(); text != w.logged {
		w.logged = text
		w.log.Warn("cannot follow the EndpointSlices, trying again", "stale", w.store.status().synced, "err", text)
	}
}

// synced is called by the store after each whole list.
func (w *watch) synced() {
	w.store.setUp(true)
	if w.logged != "" {
		w.logged = ""
		w.log.Info("following the EndpointSlices again")
	}
}
