package balance

import (
	"fmt"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Finding is one thing that decides a verdict against balanced calls, or that
// follows from it.
type Finding struct {
	// Name is that of a Kind.
	Name string
	// Object has what is wrong; Value is the wrong text in it, or "".
	Object manifest.Object
	Value  string
	// Seen is what the objects say, and what was expected.
	Seen string
	// About are the Services whose calls it concerns, if it concerns all their clients.
	About []*corev1.Service
	// Advice says that calls are balanced in spite of it.
	Advice bool
}

// Kind is what all findings of one name share.
type Kind struct {
	// Name is stable.
	Name string
	// Why says what it does to calls.
	Why string
	// Change says what to do.
	Change string
	// Question is the one of overlays/WHY.md that explains it, or "".
	Question string
}

// The questions of overlays/WHY.md.
const (
	whyOnePod      = "Why does one pod get everything?"
	whyIdle        = "Why do new pods stay idle after a scale-out?"
	whyHalf        = "Why does the HPA stop at half?"
	whySome        = "Headless, and still 3 of 8 pods?"
	whyTarget      = "Do I need `dns:///`?"
	whyUnavailable = "Why `Unavailable` in every rollout?"
	whyIstio       = "Istio is injected, and still one pod?"
)

// Kinds are all kinds of findings about calls, of manifests and of live clusters.
var Kinds = []Kind{
	{"client-target", "The client reaches no server.", "use the name and the port of a Service that is there, or the hostPort of a DaemonSet", whyTarget},
	{"client-policy", "The client uses one address of several.", "give the client a policy that uses all addresses, such as round_robin", whyOnePod},
	{"service-kind", "The policy or the mesh gets addresses that it cannot balance.", "make the Service headless if the client balances its calls itself; give it a cluster IP if a mesh does", whyOnePod},
	{"cluster-ip", "All calls of a connection go to one pod.", "make the Service headless and give the client a policy such as round_robin, use k8s:///, or put a mesh or a proxy between them", whyOnePod},
	{"mesh-protocol", "The mesh takes the port for TCP, so all calls of a connection go to one pod, or for HTTP/1.1, and they fail.", "set appProtocol: kubernetes.io/h2c on the Service's port, and remove annotations that make the port opaque", whyIstio},
	{"mesh-bypass", "The mesh leaves the connection as it is, so all calls of it go to one pod.", "remove the setting for this port", whyIstio},
	{"xds-agent", "The client finds no control plane.", "inject the gRPC agent of Istio into the client's pods", ""},
	{"envoy-upstream", "Envoy sees one address, or reaches no server.", "let Envoy's cluster name a headless Service and a port of its pods", ""},
	{"envoy-discovery", "Envoy uses one address of several.", "use the cluster type envoy.clusters.dns, or STRICT_DNS, with one server for each address", ""},
	{"envoy-protocol", "Every call fails: gRPC needs HTTP/2.", "set http2_protocol_options in the cluster's typed_extension_protocol_options", ""},
	{"grpc-route", "No call gets through the route, or some fail.", "let the route name a listener of a Gateway, or a Service, and the ports of Services; a ReferenceGrant admits those of another namespace", ""},
	{"certificate-name", "The client refuses the server's certificate, so every call fails.", "add the name to dnsNames of the Certificate, or let the client verify a name that is there, as --tls-server-name does", ""},
	{"session-affinity", "A new connection of a client goes to the same pod again.", "remove sessionAffinity", whyOnePod},
	{"traffic-policy", "Pods on other nodes get no calls.", "remove the field, or run a server on each node that has a client", whyOnePod},
	{"not-ready-addresses", "Pods that cannot answer get calls.", "remove publishNotReadyAddresses, or give peers that need it a Service of their own", whyUnavailable},
	{"readiness", "A pod gets calls before it can answer.", "give the container a readiness probe, such as grpc: {port: 8080}", whyUnavailable},
	{"disruption-budget", "A node cannot be drained, so its pods stay where they are.", "set maxUnavailable: 1", ""},
	{"destination-subset", "Calls that a route sends to the subset fail.", "give the subset labels that pods have, or give the pods these labels", whyIstio},
	{"autoscaler-pinned", "New pods get no calls, and the average load stays low.", "let the clients choose a server for each call", whyHalf},
	{"network-policy", "Where the cluster enforces NetworkPolicies, calls fail or time out.", "admit what is missing by a rule, as the folder network-policy of each strategy's overlay does", ""},
	{"dns-scale-out", "New pods get no calls while the client's connections live.", "set MaxConnectionAge on the servers, or use k8s:///", whyIdle},
	{"partial-view", "Some servers get no calls of some clients.", "set MaxConnectionAge on the servers, or use k8s:///", whySome},
	{"no-endpoints", "Calls fail: nobody is there to answer.", "start a server that the Service's selector matches, and let it become ready", ""},
	{"unready-endpoints", "The ready pods get the calls of the others too.", "read the events and the logs of the pods that are not ready", ""},
	{"not-reached", "The lab's clients could not call servers of the Service.", "look for a NetworkPolicy, a wrong port, or a server that does not listen on all addresses", ""},
}

// Page returns where this repository explains the kind.
func (k Kind) Page() string {
	question := k.Question
	if question == "" {
		question = "All findings"
	}
	anchor := strings.Map(func(r rune) rune { // as GitHub makes it of a heading
		switch {
		case r == ' ':
			return '-'
		case r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, question)
	return "overlays/WHY.md#" + anchor
}

// KindOf returns the kind of the name. Findings of any other name are a mistake in
// this program.
func KindOf(name string) Kind {
	for _, k := range Kinds {
		if k.Name == name {
			return k
		}
	}
	panic(fmt.Sprintf("balance: finding %q is not among Kinds", name))
}

func newFinding(name string, o manifest.Object, value, format string, args ...any) Finding {
	return Finding{Name: KindOf(name).Name, Object: o, Value: value, Seen: fmt.Sprintf(format, args...)}
}
