package conformance

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"k8s.io/client-go/rest"
)

// Subject is a resolver under test.
type Subject struct {
	Name string
	// Open makes what a program makes once, such as a client for the API server.
	Open func(API) (*Program, error)
}

// API is how a program reaches the API server, and what it knows of itself: what a
// pod has from its service account and from the Downward API.
type API struct {
	URL       string // with https
	CA        []byte // PEM
	TokenFile string // may be replaced at any time
	Namespace string // the program's own
	Node      string // that the program runs on
	Zone      string // of this node
}

// Config is what client-go reaches the API server with.
func (a API) Config() *rest.Config {
	return &rest.Config{Host: a.URL, TLSClientConfig: rest.TLSClientConfig{CAData: a.CA}, BearerTokenFile: a.TokenFile}
}

// Program is a subject in one process.
type Program struct {
	Builder resolver.Builder
	// Target writes the target of a port of a Service in the subject's grammar. The
	// port is a number, a name, or empty; the namespace may be empty.
	Target func(service, namespace, port string) string
	// Options are what the subject's documentation tells to dial with, beside
	// credentials and a balancer. It may be empty.
	Options []grpc.DialOption
	// Info reads what the subject tells of an endpoint. It is nil if it tells
	// nothing.
	Info func(resolver.Endpoint) (Info, bool)
	// Close frees what Open made. It may be nil.
	Close func()
}

// Info is what an EndpointSlice tells of the pod behind an endpoint.
type Info struct {
	Pod, UID, Node, Zone string
	Terminating          bool
}
