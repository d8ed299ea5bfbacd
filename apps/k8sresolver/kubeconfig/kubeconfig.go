// Package kubeconfig makes clients of package k8sresolver from a kubeconfig, for
// processes outside the cluster. It is a package of its own because reading
// kubeconfigs adds about 0.2 MiB to a binary, which programs in a pod need not pay.
package kubeconfig

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// NewClient returns a client with the API server and the credentials of a context,
// and the context's namespace, "default" when it has none, for
// [k8sresolver.WithDefaultNamespace]. An empty path means the files that the
// environment variable KUBECONFIG lists, else ~/.kube/config. An empty context means
// the current one.
//
// It fails when there is no such file or context, no current context, or when the
// credentials cannot be read.
func NewClient(path, context string) (client *k8sresolver.Client, namespace string, err error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = path
	raw, err := rules.Load()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: reading %q: %w", rules.GetLoadingPrecedence(), err)
	}
	name := cmp.Or(context, raw.CurrentContext)
	known := slices.Sorted(maps.Keys(raw.Contexts))
	switch {
	case len(known) == 0:
		err = errors.New("there is no context")
	case name == "":
		err = fmt.Errorf("there is no current context; choose one of %q", known)
	case raw.Contexts[name] == nil:
		err = fmt.Errorf("there is no context %q, only %q", name, known)
	}
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %q: %w", rules.GetLoadingPrecedence(), err)
	}
	loaded := clientcmd.NewNonInteractiveClientConfig(*raw, name, nil, rules)
	cfg, err := loaded.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: context %q: %w", name, err)
	}
	if namespace, _, err = loaded.Namespace(); err != nil {
		return nil, "", fmt.Errorf("kubeconfig: namespace of context %q: %w", name, err)
	}
	client, err = k8sresolver.NewClient(cfg)
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: context %q: %w", name, err)
	}
	return client, namespace, nil
}
