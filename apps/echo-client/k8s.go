package main

import (
	"errors"
	"fmt"
	"log/slog"

	"google.golang.org/grpc/resolver"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/kubeconfig"
)

// resolvers returns the Kubernetes resolver when the target asks for it, with
// the credentials of the pod, else of the user's kubeconfig. Only then is there
// a need for a cluster.
func resolvers(target string, log *slog.Logger) ([]resolver.Builder, error) {
	if loadgen.Scheme(target) != k8sresolver.Scheme {
		return nil, nil
	}
	opts := []k8sresolver.Option{k8sresolver.WithLogger(log)}
	client, err := k8sresolver.NewInClusterClient()
	if errors.Is(err, rest.ErrNotInCluster) {
		var namespace string
		if client, namespace, err = kubeconfig.NewClient("", ""); err != nil {
			return nil, fmt.Errorf("--target %q needs a cluster, but there is neither a pod's service account nor a kubeconfig (KUBECONFIG): %w", target, err)
		}
		opts = append(opts, k8sresolver.WithDefaultNamespace(namespace))
	}
	if err != nil {
		return nil, fmt.Errorf("--target %q: %w", target, err)
	}
	return []resolver.Builder{k8sresolver.NewBuilder(client, opts...)}, nil
}
