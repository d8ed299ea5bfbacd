package observe

import (
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
)

// Turn is one strategy called at a fixed rate while all others rest.
type Turn struct {
	From, To time.Time
	// CPU is what the containers used meanwhile, by part: client, server, proxy.
	CPU map[string]time.Duration
	// Memory is the working set at the end by pod and container, in bytes.
	Memory map[string]map[string]int64
}

// Within returns the clients' windows that lie in a turn.
func (f *Facts) Within(t Turn) []calllog.Window {
	var all []calllog.Window
	for _, name := range Keys(f.Clients) {
		all = append(all, f.Clients[name].Between(t.From, t.To)...)
	}
	return all
}

// Reach is one node's port as a client in the cluster found it.
type Reach struct {
	Node    string
	Summary calllog.Summary
	// NoProxy says that no pod of the proxy ran there.
	NoProxy bool
	// Failure is the last code and error that the client logged.
	Failure string
}

// NodeProxy is a client on one node, and what each node's proxy counted
// meanwhile.
type NodeProxy struct {
	Node    string
	Summary calllog.Summary
	Counted map[string]int64
}

// Rollout is what became of a Deployment of proxies that was given a
// configuration which the proxy refuses.
type Rollout struct {
	// Ready are the old pods that were ready before and after, New is the pod
	// with the broken configuration.
	Before, After []string
	New           string
	NewReady      bool
	// Why is what Kubernetes says of the new pod.
	Why string
}

// Preflight is what was found of a strategy before any of its pods ran.
type Preflight struct {
	// Rights counts what the proxies' account may do of what they need, Nodes the
	// nodes whose ports are free, Objects what the API server accepts.
	Rights, Nodes, Objects int
	// Problems says what would keep the pods from working.
	Problems []string
}
