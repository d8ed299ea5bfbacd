package k8sresolver

import (
	"log/slog"
	"time"
)

// Option changes a default of [NewBuilder].
type Option func(*config)

type config struct {
	namespace        string
	defaultNamespace string
	topology         topology
	emptyHold        time.Duration
	logger           *slog.Logger
}

// WithNamespace sets the namespace of targets that name none. The default is the
// namespace of the pod's service account.
func WithNamespace(namespace string) Option {
	return func(c *config) { c.namespace = namespace }
}

// WithDefaultNamespace sets the namespace of targets that name none for processes
// outside a pod, where there is no service account: pass the one of the
// kubeconfig's context. The default is "default".
func WithDefaultNamespace(namespace string) Option {
	return func(c *config) { c.defaultNamespace = namespace }
}

// WithNode sets the node that endpoints are hinted for. The default is the
// environment variable NODE_NAME, for the Downward API's spec.nodeName. Empty turns
// node hints off.
func WithNode(node string) Option {
	return func(c *config) { c.topology.node = node }
}

// WithZone sets the zone that endpoints are hinted for. The default is the
// environment variable POD_ZONE, for the Downward API's
// metadata.labels['topology.kubernetes.io/zone']. Empty turns zone hints off.
func WithZone(zone string) Option {
	return func(c *config) { c.topology.zone = zone }
}

// WithEmptyHold keeps the last endpoints in use for up to d after a Service has lost
// all of them, in case it is the control plane that is wrong and not the pods. The
// default is 0: callers learn at once that there is no endpoint.
func WithEmptyHold(d time.Duration) Option {
	return func(c *config) { c.emptyHold = d }
}

// WithLogger sets where lost and recovered watches are logged. The default is
// [slog.Default] at the time of [NewBuilder]. A watch that several builders share
// is logged by the one whose channel came first.
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) { c.logger = logger }
}
