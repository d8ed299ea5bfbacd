package main

import (
	"runtime/debug"

	kuberegistry "github.com/go-kratos/kratos/contrib/registry/kubernetes/v2"
	kratoslog "github.com/go-kratos/kratos/v2/log"
	"github.com/go-kratos/kratos/v2/transport/grpc/resolver/discovery"
	"github.com/sercand/kuberesolver/v6"
	"github.com/zeromicro/go-zero/core/logx"
	zeroresolver "github.com/zeromicro/go-zero/zrpc/resolver"
	"google.golang.org/grpc/resolver"
	"k8s.io/client-go/kubernetes"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/own"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/report"
)

// peer is a subject and what the comparison must know of it.
type peer struct {
	conformance.Subject
	module string
	client string // package of the least program that uses it
	// inCluster says that the subject reads a pod's files, which a process outside a
	// pod has only in a mount namespace of its own.
	inCluster bool
	// pods says that the subject follows pods instead of EndpointSlices. The scripted
	// API server has them, the real one does not.
	pods bool
	// noAPI says that the subject does not speak to the API server.
	noAPI bool
}

// peers returns the subjects in the order of the tables.
func peers() []peer {
	return []peer{
		{Subject: own.Subject(), module: "github.com/grpc-lb/grpc-lb", client: "github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/endurance/minimal/k8sresolver"},
		{Subject: conformance.Subject{Name: "kuberesolver", Open: openKuberesolver}, module: "github.com/sercand/kuberesolver/v6", client: "./minimal/kuberesolver", inCluster: true},
		{Subject: conformance.Subject{Name: "go-zero", Open: openGoZero}, module: "github.com/zeromicro/go-zero", client: "./minimal/gozero", inCluster: true},
		{Subject: conformance.Subject{Name: "Kratos", Open: openKratos}, module: "github.com/go-kratos/kratos/v2", client: "./minimal/kratos", pods: true},
		{Subject: conformance.Subject{Name: "dns", Open: openDNS}, module: "google.golang.org/grpc", client: "./minimal/dns", noAPI: true},
	}
}

// absent is what is not compared.
var absent = []report.Subject{
	{Name: "xds", NotRun: "its endpoints come from a control plane such as istiod, which is not part of this comparison"},
}

func (p peer) version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		switch {
		case m.Path != p.module:
		case m.Replace != nil:
			return "(this tree)"
		default:
			return m.Version
		}
	}
	return ""
}

func openKuberesolver(api conformance.API) (*conformance.Program, error) {
	if err := pretendPod(api); err != nil {
		return nil, err
	}
	client, err := kuberesolver.NewInClusterK8sClient()
	if err != nil {
		return nil, err
	}
	return &conformance.Program{
		Builder: kuberesolver.NewBuilder(client, "kubernetes"),
		Target: func(service, namespace, port string) string {
			return "kubernetes:///" + join(qualified(service, namespace), port)
		},
	}, nil
}

func openGoZero(api conformance.API) (*conformance.Program, error) {
	if err := pretendPod(api); err != nil {
		return nil, err
	}
	logx.Disable()
	zeroresolver.Register()
	return &conformance.Program{
		Builder: resolver.Get("k8s"),
		Target: func(service, namespace, port string) string {
			return "k8s://" + namespace + "/" + join(service, port)
		},
	}, nil
}

func openKratos(api conformance.API) (*conformance.Program, error) {
	client, err := kubernetes.NewForConfig(api.Config())
	if err != nil {
		return nil, err
	}
	kratoslog.SetLogger(kratoslog.NewFilter(kratoslog.GetLogger(), kratoslog.FilterLevel(kratoslog.LevelFatal)))
	registry := kuberegistry.NewRegistry(client, api.Namespace)
	go registry.Start() // its comment says that it does not block; it does while the API is silent
	return &conformance.Program{
		// Without a subset, as the others; the pods that it finds have their ports.
		Builder: discovery.NewBuilder(registry, discovery.WithInsecure(true), discovery.WithSubset(0), discovery.PrintDebugLog(false)),
		Target:  func(service, _, _ string) string { return "discovery:///" + service },
		Close:   registry.Close,
	}, nil
}

func openDNS(api conformance.API) (*conformance.Program, error) {
	server, err := startDNS(api)
	if err != nil {
		return nil, err
	}
	return &conformance.Program{
		Builder: resolver.Get("dns"),
		Target: func(service, namespace, port string) string {
			return "dns://" + server.addr + "/" + join(service+"."+namespace+".svc.cluster.local", port)
		},
		Close: server.close,
	}, nil
}

func qualified(service, namespace string) string {
	if namespace == "" {
		return service
	}
	return service + "." + namespace
}

func join(host, port string) string {
	if port == "" {
		return host
	}
	return host + ":" + port
}
