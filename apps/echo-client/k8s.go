package main

import (
	"errors"
	"fmt"
	"log/slog"

	"google.golang.org/grpc/resolver"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/grpc-lb/grpc-lb/apps/internal/caller"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// resolvers returns the Kubernetes resolver when the target asks for it, with
// the credentials of the pod, else of the user's kubeconfig. Only then is there
// a need for a cluster.
func resolvers(target string, log *slog.Logger) ([]resolver.Builder, error) {
	if caller.Scheme(target) != k8sresolver.Scheme {
		return nil, nil
	}
	opts := []k8sresolver.Option{k8sresolver.WithLogger(log)}
	client, err := k8sresolver.NewInClusterClient()
	if errors.Is(err, rest.ErrNotInCluster) {
		kubeconfig := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil)
		cfg, kubeErr := kubeconfig.ClientConfig()
		if kubeErr != nil {
			return nil, fmt.Errorf("--target %q needs a cluster, but there is neither a pod's service account nor a kubeconfig (KUBECONFIG): %w", target, kubeErr)
		}
		if namespace, _, err := kubeconfig.Namespace(); err == nil {
			opts = append(opts, k8sresolver.WithDefaultNamespace(namespace))
		}
		client, err = k8sresolver.NewClient(cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("--target %q: %w", target, err)
	}
	return []resolver.Builder{k8sresolver.NewBuilder(client, opts...)}, nil
}
