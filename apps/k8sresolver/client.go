package k8sresolver

import (
	"fmt"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// NewInClusterClient returns a client with the service account of the pod that the
// process runs in. A rotated token is picked up.
func NewInClusterClient() (rest.Interface, error) {
	cfg, err := rest.InClusterConfig()
	if err != nil {
		return nil, fmt.Errorf("k8sresolver: reading the pod's service account: %w; outside a pod, or with automountServiceAccountToken off, use NewClient with a kubeconfig", err)
	}
	return NewClient(cfg)
}

// NewClient returns a client for the API group discovery.k8s.io/v1 that speaks
// protobuf, with the address and the credentials of cfg, which it does not change.
// cfg's Timeout is ignored, because it would end every watch. Without QPS and
// RateLimiter, requests are not limited: the API server does that, and a watch
// that fails backs off.
func NewClient(cfg *rest.Config) (rest.Interface, error) {
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
	own.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	own.ContentType = runtime.ContentTypeProtobuf
	own.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	own.Timeout = 0
	if own.QPS == 0 {
		own.QPS = -1
	}
	client, err := rest.RESTClientFor(own)
	if err != nil {
		return nil, fmt.Errorf("k8sresolver: building a client for the API server %q: %w", cfg.Host, err)
	}
	return client, nil
}
