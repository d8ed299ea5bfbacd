package strategy

import (
	"fmt"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// The limits in time.
const (
	newPodLimit = 5 * time.Second
	newPodGoal  = time.Second
	// nodeLimit is that of a proxy on each node, which a JVM may be.
	nodeLimit = 10 * time.Second
	// resolveInterval is grpc-go's least interval between two look-ups.
	resolveInterval = 30 * time.Second
	relearnMargin   = 5 * time.Second
)

// relearnLimit is how soon a dns client must see new pods once it lost one.
func relearnLimit(d observe.DNS) time.Duration { return resolveInterval + d.TTL + relearnMargin }

// Claims lists every claim. Numbers are never given twice; the gaps are claims
// about strategies that are not here yet.
var Claims = []runner.Claim{
	{
		ID: 1, Strategies: []string{"l4"},
		Text:     "new connections to the ClusterIP are spread over the servers",
		Limit:    fixed("what chance gives within 5 sigma"),
		Evaluate: freshConnectionsSpread,
	},
	{
		ID: 2, Strategies: []string{"l4"},
		Text:     "a client stays on one server",
		Limit:    fixed("1 server a client"),
		Evaluate: oneServer,
	},
	{
		ID: 3, Strategies: []string{"l4"},
		Text:     "a scale-out changes nothing for connected clients",
		Limit:    fixed("same server, no connection opened or closed"),
		Evaluate: unmoved,
	},
	{
		ID: 4, Strategies: []string{"dns"},
		Text:     "the headless name has one A record for each ready pod",
		Limit:    func(d observe.DNS) string { return "within " + runner.Seconds(d.MaxStaleness()) + " (TTL and cache)" },
		Evaluate: recordsFollow,
	},
	{
		ID: 5, Strategies: []string{"dns", "k8s-api"},
		Text:     "round_robin is even",
		Limit:    fixed("max - min <= 1 between barriers"),
		Evaluate: even,
	},
	{
		ID: 6, Strategies: []string{"dns"},
		Text:     "connected clients miss a scale-out",
		Limit:    fixed("no new pod is called"),
		Evaluate: missed,
	},
	{
		ID: 7, Strategies: []string{"dns"},
		Text:     "after an original server left they re-resolve and see the new pods",
		Limit:    func(d observe.DNS) string { return "within " + runner.Seconds(relearnLimit(d)) },
		Evaluate: relearned,
	},
	{
		ID: 8, Strategies: []string{"k8s-api"},
		Text:     "the resolver gets the whole list, then watches",
		Limit:    fixed("nothing else is requested"),
		Evaluate: listsThenWatches,
	},
	{
		ID: 9, Strategies: []string{"k8s-api"},
		Text:     "after a scale-out every client calls every new pod",
		Limit:    fixed("within " + runner.Seconds(newPodLimit) + " of Ready"),
		Goal:     runner.Seconds(newPodGoal),
		Evaluate: calledWithin(func(observe.DNS) time.Duration { return newPodLimit }),
	},
	{
		ID: 10, Strategies: []string{"linkerd"},
		Text:     "every node's port of the proxy answers",
		Limit:    fixed(fmt.Sprintf("%d calls to each node are answered", reachCalls)),
		Evaluate: everyNodeAnswers,
	},
	{
		ID: 11, Strategies: []string{"linkerd"},
		Text:     "a client's calls pass through its own node's proxy",
		Limit:    fixed(fmt.Sprintf("the node's proxy counts all of %d calls, the others none", nodeCalls)),
		Evaluate: throughOwnNode,
	},
	{
		ID: 12, Strategies: []string{"linkerd"},
		Text:     "path, dtab and namer spread the calls and see a scale-out",
		Limit:    fixed(fmt.Sprintf("every client calls every server, %s; new pods within %s of Ready", fairLimit, runner.Seconds(nodeLimit))),
		Goal:     runner.Seconds(newPodGoal),
		Evaluate: all(fair, calledWithin(func(observe.DNS) time.Duration { return nodeLimit })),
	},
	{
		ID: 13, Strategies: []string{"istio"},
		Text:     "the files are those of l4",
		Limit:    fixed("only the namespace and the Namespace's labels differ"),
		Static:   true,
		Own:      true,
		Evaluate: asL4,
	},
	{
		ID: 14, Strategies: []string{"istio"},
		Text:     "the sidecar balances the calls of a client that knows of no balancing",
		Limit:    fixed(fmt.Sprintf("%d calls a client to every server, Jain >= %.2f, the proxy counts the same; without it 1 server", sidecarCalls, fairEnough)),
		Evaluate: balancedBySidecar,
	},
	{
		ID:       15,
		Text:     "the log names who answered every call",
		Limit:    fixed("windows = summary = what the servers counted"),
		Evaluate: accounted,
	},
	{
		ID: 16, Strategies: []string{"istio"},
		Text:     "balancing goes on while istiod is away",
		Limit:    fixed(fmt.Sprintf("every client calls every server, %s, no call is lost, %.0f %% are in time", fairLimit, 100*mostAnswered)),
		Evaluate: balancedWithoutControlPlane,
	},
	{
		ID: 17, Strategies: []string{"linkerd"},
		Text:     "all but the proxy's image is in place",
		Limit:    fixed("no problem in files, rights, ports and dtab"),
		Static:   true,
		Evaluate: inPlace,
	},
	{
		ID: 31, Strategies: []string{"envoy"},
		Text:     "the proxies spread every client's calls",
		Limit:    fixed("every client calls every server, " + fairLimit),
		Evaluate: fair,
	},
	{
		ID: 32, Strategies: []string{"envoy"},
		Text: "after a scale-out every client's calls reach every new pod",
		Limit: func(d observe.DNS) string {
			return "within " + runner.Seconds(refreshLimit(d)) + " of Ready (TTL, cache, refresh, health check)"
		},
		Evaluate: calledWithin(refreshLimit),
	},
	{
		ID: 33, Strategies: []string{"envoy"},
		Text:     "draining one proxy of two, and then the other, loses no call",
		Limit:    fixed(fmt.Sprintf("no call is lost, %.0f %% are in time", 100*mostAnswered)),
		Evaluate: undisturbed(ProxyDrains),
	},
	{
		ID: 34, Strategies: []string{"envoy"},
		Text:     "a configuration that the proxy refuses does not roll out",
		Limit:    fixed("the new pod never becomes ready, the old ones stay, no call is lost"),
		Evaluate: all(notRolledOut, undisturbed(BrokenConfiguration)),
	},
	{
		ID: 35, Strategies: []string{"xds"},
		Text:     "the client itself spreads its calls as istiod says",
		Limit:    fixed("every client calls every server, " + fairLimit),
		Evaluate: fair,
	},
	{
		ID: 36, Strategies: []string{"xds"},
		Text:     "after a scale-out every client calls every new pod",
		Limit:    fixed("within " + runner.Seconds(newPodLimit) + " of Ready"),
		Goal:     runner.Seconds(newPodGoal),
		Evaluate: calledWithin(func(observe.DNS) time.Duration { return newPodLimit }),
	},
	{
		ID: 37, Strategies: []string{"xds"},
		Text:     "no proxy runs in the pods",
		Limit:    fixed("no process envoy"),
		Evaluate: noProxyProcess,
	},
	{
		ID: 38, Strategies: []string{"l4-max-age"},
		Text:     "with MaxConnectionAge clients spread in time",
		Limit:    fixed("new connections lead to other servers as often as chance gives within 5 sigma"),
		Evaluate: spreadInTime,
	},
	{
		ID: 39, Strategies: []string{"l4-max-age"},
		Text:     "with MaxConnectionAge a scale-out is seen",
		Limit:    fixed(fmt.Sprintf("new pods are called within %d ages of a connection", ages)),
		Evaluate: agedSeesScaleOut,
	},
	{
		ID: 40, Strategies: []string{"dns-max-age"},
		Text: "with MaxConnectionAge clients see a scale-out while no server leaves",
		Limit: func(d observe.DNS) string {
			return "every new pod within " + runner.Seconds(relearnLimit(d)) + " and one age of a connection"
		},
		Evaluate: agedSeesScaleOut,
	},
}

// TrailsDNS tells whether what is claimed about a strategy depends on how far the
// cluster's DNS trails.
func TrailsDNS(s runner.Strategy) bool {
	return slices.ContainsFunc(s.Claims, func(c runner.Claim) bool {
		return c.Limit(observe.DNS{}) != c.Limit(observe.DNS{TTL: time.Hour, Cache: time.Hour})
	})
}

// Of returns the claims about a strategy.
func Of(strategy string) []runner.Claim {
	var some []runner.Claim
	for _, c := range Claims {
		if c.Strategies == nil || slices.Contains(c.Strategies, strategy) {
			some = append(some, c)
		}
	}
	return some
}

func fixed(limit string) func(observe.DNS) string { return func(observe.DNS) string { return limit } }
