package strategy

import (
	"context"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/pki"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// What only tests outside of the package reach for.
var (
	Row            = row
	Findings       = findings
	Counter        = counter
	LeastMoves     = leastMoves
	Cost           = cost
	Proxies        = proxies
	AddedMemory    = addedMemory
	LinkerdCounter = linkerdCounter
	Busiest        = busiest
	HostPorts      = hostPorts
	TakenPorts     = takenPorts
	MayRead        = mayRead
	SetRates       = setRates
	MeasureTurn    = turn
	KillBusiest    = killBusiest
	ListProcesses  = listProcesses
	ForProbes      = forProbes
	UnreachableAPI = unreachableAPI
)

// The limits that tests come up to.
const (
	SilentAPI  = string(silentAPI)
	TurnSettle = turnSettle
	TurnTime   = turnTime
)

// AgedLimit is how soon connections that end by age must lead to new pods.
func AgedLimit(s observe.Subject) time.Duration { return agesOf(s.ByName).In(s.DNS, s.ConnectionAge) }

// Moves counts how often clients connected, and how often to another server.
func Moves(f *observe.Facts, from, to time.Time, clients ...string) (opened, moved int64) {
	return moves(f, from, to, clients)
}

// ProxyOf returns the account and the nodes' ports of a rendering's proxies.
func ProxyOf(s runner.Strategy, objects []*unstructured.Unstructured) (account string, ports []int32, err error) {
	return proxyOf(s, objects)
}

// EnvironmentOf is that of a strategy whose pods are there already, on a cluster
// that need not exist.
func EnvironmentOf(on cluster.Cluster, f *observe.Facts, pods ...*corev1.Pod) *runner.Environment {
	for _, p := range pods {
		f.Pods[p.Name] = p
	}
	return runner.NewEnvironment(runner.Strategy{Name: f.Strategy}, on, &kube.Client{}, f)
}

// findings returns what the named experiment asserts about the facts.
func findings(name string, f *observe.Facts) []string {
	var all []string
	var walk func([]runner.Experiment)
	walk = func(es []runner.Experiment) {
		for _, e := range es {
			if e.Name == name && e.Assert != nil {
				for _, found := range e.Assert(f, f.Phases[name]) {
					mark := "no: "
					if found.Holds {
						mark = "yes: "
					}
					all = append(all, mark+found.Text+": "+found.Measured)
				}
			}
			walk(e.Inner)
		}
	}
	for _, s := range All() {
		if s.Name == f.Strategy {
			walk(s.Experiments)
		}
	}
	return all
}

// LookAt makes the connections to a server at an address that the experiment tls makes to a
// pod, whose certificate must have the name. At is when certificates must be valid; zero is now.
func LookAt(ctx context.Context, address, name string, at time.Time, own *pki.Certificate, trusted ...*pki.Authority) (Peer, error) {
	dial := func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	return peer{pod: "s1", name: name}.look(ctx, dial, dialing{own: own, trusted: trusted, at: at})
}

// Wrong says what is not as it should be with a peer.
func (p Peer) Wrong() string { return p.wrong() }
