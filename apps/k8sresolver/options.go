package k8sresolver

import "log/slog"

// Option changes a default of [NewBuilder].
type Option func(*config)

type config struct {
	namespace        string
	namespaceFile    string
	defaultNamespace string
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

// WithLogger sets where lost and recovered watches are logged. The default is
// [slog.Default] at the time of [NewBuilder].
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) { c.logger = logger }
}
