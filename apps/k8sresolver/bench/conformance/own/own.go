// Package own is k8sresolver as a subject of the conformance suite.
package own

import (
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance"
)

// Subject returns k8sresolver as its README tells to use it.
func Subject() conformance.Subject { return conformance.Subject{Name: "k8sresolver", Open: open} }

func open(api conformance.API) (*conformance.Program, error) {
	client, err := k8sresolver.NewClient(api.Config())
	if err != nil {
		return nil, err
	}
	return &conformance.Program{
		Builder: k8sresolver.NewBuilder(client, k8sresolver.WithNamespace(api.Namespace), k8sresolver.WithNode(api.Node), k8sresolver.WithZone(api.Zone),
			k8sresolver.WithLogger(slog.New(slog.DiscardHandler))),
		Target: func(service, namespace, port string) string {
			target := k8sresolver.Scheme + ":///" + service
			if namespace != "" {
				target += "." + namespace
			}
			if port != "" {
				target += ":" + port
			}
			return target
		},
		Options: []grpc.DialOption{grpc.WithNoProxy()},
		Close:   client.Close,
		Info: func(e resolver.Endpoint) (conformance.Info, bool) {
			info, ok := k8sresolver.InfoFrom(e)
			return conformance.Info(info), ok
		},
	}, nil
}
