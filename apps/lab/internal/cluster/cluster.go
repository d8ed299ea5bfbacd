// Package cluster is the one interface between the lab and the Kubernetes that
// it measures. Package builtin implements it; other kinds of cluster belong
// beside it.
package cluster

import (
	"context"
	"io"

	"k8s.io/client-go/rest"
)

// Cluster is a running Kubernetes.
type Cluster interface {
	// Kind names the implementation: "builtin".
	Kind() string
	// RESTConfig returns a fresh configuration with administrator's rights.
	RESTConfig() (*rest.Config, error)
	// Kubeconfig returns the path of a kubeconfig file for kubectl.
	Kubeconfig() string
	// LoadImages puts images from docker-save archives onto every node.
	LoadImages(ctx context.Context, archives ...string) error
	// AuditLog opens the API server's audit log, one JSON event a line, at its
	// beginning. It returns errors.ErrUnsupported where the log is out of reach.
	AuditLog(ctx context.Context) (io.ReadCloser, error)
	// Versions names what the cluster is made of, program to version.
	Versions() map[string]string
}
