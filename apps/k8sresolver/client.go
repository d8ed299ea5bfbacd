package k8sresolver

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

// linger is how long a watch outlives its last channel. A channel that was idle
// finds the endpoints there and makes its first call without asking the API server.
const linger = 5 * time.Minute

// Client talks to one API server and holds the watches of all channels that use it:
// one for each Service, however many channels and builders there are. A watch is
// kept for five minutes after its last channel. Clients are safe for concurrent use,
// and a process needs one for each API server.
type Client struct {
	api      rest.Interface
	decoder  runtime.Decoder
	plain    plainLists
	identity func() string // who the client is, empty when that is not known
	proxy    proxyFunc     // before the API server

	mu      sync.Mutex
	closed  bool               // mu; set by Close
	watches map[service]*watch // mu; what is up, used or not
}

// NewInClusterClient returns a client with the service account of the pod that the
// process runs in. The client follows a rotated token. NewInClusterClient
// fails outside a pod, with automountServiceAccountToken: false, and if it cannot read
// the token or the CA.
func NewInClusterClient() (*Client, error) {
	cfg, err := rest.InClusterConfig()
	if err != nil {
		return nil, fmt.Errorf("k8sresolver: reading the pod's service account: %w; outside a pod, or with automountServiceAccountToken off, use NewClient with a kubeconfig", err)
	}
	return NewClient(cfg)
}

// NewClient returns a client for the API group discovery.k8s.io/v1 that speaks
// protobuf, with the address and the credentials of cfg, which it does not change.
// cfg's Timeout is ignored, because it would end every watch. Without QPS and
// RateLimiter, the client does not limit its requests: the API server does, and a watch
// that fails backs off. NewClient fails if cfg names no usable address, token or CA.
func NewClient(cfg *rest.Config) (*Client, error) {
	// The Clientset's scheme knows every type of every API group and doubles the
	// size of a binary; this one knows EndpointSlices.
	scheme := runtime.NewScheme()
	if err := discoveryv1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("k8sresolver: building the scheme: %w", err)
	}
	metav1.AddToGroupVersion(scheme, metav1.Unversioned)

	own := rest.CopyConfig(cfg)
	own.APIPath = "/apis"
	own.GroupVersion = &discoveryv1.SchemeGroupVersion
	codecs := serializer.NewCodecFactory(scheme)
	own.NegotiatedSerializer = codecs.WithoutConversion()
	own.ContentType = runtime.ContentTypeProtobuf
	own.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	own.Timeout = 0
	if own.QPS == 0 {
		own.QPS = -1
	}
	var api rest.Interface
	err := refreshRefused(own)
	if err == nil {
		api, err = rest.RESTClientFor(own)
	}
	if err != nil {
		return nil, fmt.Errorf("k8sresolver: building a client for the API server %q: %w", cfg.Host, err)
	}
	return &Client{
		api:      api,
		decoder:  codecs.UniversalDeserializer(),
		identity: identityOf(cfg),
		proxy:    proxyOf(cfg),
		watches:  make(map[service]*watch),
	}, nil
}

// refreshRefused makes requests read the token file again after the token was
// refused. The REST client by itself uses a token for most of a minute.
func refreshRefused(cfg *rest.Config) error {
	if cfg.BearerTokenFile == "" {
		return nil
	}
	file := transport.NewCachedFileTokenSource(cfg.BearerTokenFile)
	if _, err := file.Token(); err != nil {
		return err
	}
	cfg.BearerToken, cfg.BearerTokenFile = "", ""
	cfg.Wrap(transport.ResettableTokenSourceWrapTransport(file))
	return nil
}

// proxyOf returns what the REST client asks for its proxy.
func proxyOf(cfg *rest.Config) proxyFunc {
	switch {
	case cfg.Transport != nil:
		return nil
	case cfg.Proxy != nil:
		return cfg.Proxy
	default:
		return http.ProxyFromEnvironment
	}
}

// Close ends all watches, also those that are kept for channels to come, and waits
// until they have ended. Channels that are still open keep their endpoints and get
// no changes; channels that leave idle fail. It can be called more than once.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	var ending []*watch
	for _, w := range c.watches {
		ending = append(ending, w)
		c.end(w)
	}
	c.mu.Unlock()
	for _, w := range ending {
		w.running.Wait()
	}
}

var errClientClosed = errors.New("k8sresolver: the client is closed")

// acquire returns the Service's watch, and starts it for its first user. Each
// acquire needs one release.
func (c *Client) acquire(svc service, log *slog.Logger) (*watch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClientClosed
	}
	w := c.watches[svc]
	if w == nil {
		w = newWatch(c, svc, log)
		c.watches[svc] = w
		w.start()
	}
	if w.expiry != nil {
		w.expiry.Stop()
	}
	w.users++
	return w, nil
}

// release gives back what acquire returned. It does not wait.
func (c *Client) release(w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.users--
	switch {
	case w.users > 0 || c.watches[w.svc] != w:
	case w.store.status().synced:
		w.unused = time.Now()
		w.expiry = time.AfterFunc(linger, func() { c.expire(w) })
	default:
		c.end(w) // it has nothing that a later channel could use
	}
}

func (c *Client) expire(w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// It may have been used while this waited for mu.
	if w.users == 0 && c.watches[w.svc] == w && time.Since(w.unused) >= linger {
		c.end(w)
	}
}

// end stops a watch without waiting for it. The caller holds mu.
func (c *Client) end(w *watch) {
	delete(c.watches, w.svc)
	if w.expiry != nil {
		w.expiry.Stop()
	}
	w.stop()
}
