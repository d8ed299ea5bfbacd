package strategy

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/poll"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// NetworkPolicy is the name of the experiment.
const NetworkPolicy = "network-policy"

const (
	// stranger labels a pod that no policy admits.
	stranger = "echo-client-stranger"
	// apiPolicy is the name of the policy that admits the API server, in each overlay that
	// has one.
	apiPolicy = "api-server"

	// strangeCalls is how many connections a pod tries that must be refused, and
	// strangeTimeout how long each may take: some implementations answer, others are silent.
	strangeCalls   = 10
	strangeTimeout = 3 * time.Second
	strangeTime    = 60 * time.Second // of the Job
	// enforcing is how often a pod tries before the cluster is taken not to enforce: policies
	// are in force some time after they are applied.
	enforcing = 5
	// underPolicies is how long calls are watched after all pods started anew.
	underPolicies = 10 * time.Second
)

// unreachableAPI is what the resolver's README promises to say where a policy closes the way
// to the API server: implementations refuse the connection, or are silent.
var unreachableAPI = saysOneOf{"no connection to the API server", "no answer from the API server"}

var everyStrategy = []string{"l4", "l4-max-age", "dns", "dns-max-age", "k8s-api", "linkerd", "envoy", "gateway", "istio", "xds"}

var _ = makeOnRequest(Asked{
	Experiment: runner.Experiment{
		Name:       NetworkPolicy,
		Steady:     noFailure,
		Change:     "apply the NetworkPolicies of the overlay's folder network-policy, and start all pods anew",
		Act:        closeNetwork,
		Observe:    watchClosed,
		StartsPods: true,
		Edits:      true,
		Policies:   true,
		Rights: always(
			runner.Access{Group: "networking.k8s.io", Resources: []string{"networkpolicies"}, Verbs: []string{"create", "patch", "get", "delete"}},
			runner.Access{Resources: []string{"namespaces"}, Verbs: []string{"get", "create", "delete"}, Everywhere: true},
			runner.Access{Resources: []string{"pods"}, Verbs: []string{"list"}, Everywhere: true},
			runner.Access{Resources: []string{"pods/log"}, Verbs: []string{"get"}, Everywhere: true},
			runner.Access{Group: "batch", Resources: []string{"jobs"}, Verbs: []string{"create", "delete"}, Everywhere: true},
		),
	},
	Question: "Do all claims about a strategy stay proven under NetworkPolicies that deny by default, and what do these refuse?",
	Usual:    true,
	Claims: []About{
		{
			Strategies: everyStrategy,
			Claim: runner.Claim{
				ID:        80,
				Text:      "under its NetworkPolicies all pods start anew, and no call is lost after that",
				Criterion: of(NetworkPolicy, mostInTime, undisturbed),
			},
		},
		{
			Strategies: everyStrategy,
			Claim: runner.Claim{
				ID:        81,
				Text:      "a pod without the client's label is refused",
				Criterion: of(NetworkPolicy, exactly("all its calls fail, which were answered without the policies"), ofClosed(theStranger)),
			},
		},
		{
			Strategies: everyStrategy,
			Claim: runner.Claim{
				ID:        82,
				Text:      "a client of the next namespace is refused",
				Criterion: of(NetworkPolicy, exactly("all its calls fail, which were answered without the policies"), ofClosed(theNeighbour)),
			},
		},
		{
			Strategies: []string{"k8s-api"},
			Claim: runner.Claim{
				ID:        83,
				Text:      "without the rule for the API server a new client says what it cannot reach",
				Criterion: of(NetworkPolicy, unreachableAPI, unruledSays),
			},
		},
	},
})

// Closed is evidence of whom NetworkPolicies refuse.
type Closed struct {
	// Before and After are calls without the policies and under them.
	Before, After Uninvited
	// Unruled is a client that started while the rule for the API server was away, nil where
	// there is none.
	Unruled *runner.ClientResult
}

// Uninvited are calls of pods that the policies must refuse.
type Uninvited struct {
	// Stranger lacks the client's label, Neighbour has it in another namespace.
	Stranger, Neighbour *runner.ClientResult
}

// Summaries counts the Jobs' calls.
func (c *Closed) Summaries() (all []calllog.Summary) {
	for _, ran := range []*runner.ClientResult{c.Before.Stranger, c.Before.Neighbour, c.After.Stranger, c.After.Neighbour, c.Unruled} {
		if ran != nil {
			all = append(all, ran.Summary)
		}
	}
	return all
}

// closeNetwork lets uninvited pods call without the policies and under them, and starts all
// pods anew: a connection that is open when a policy comes may stay open.
func closeNetwork(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	seen := &Closed{}
	env.Record.Update(func(*observe.Facts) { p.Evidence = seen })
	if err := env.Kube.Delete(ctx, env.Policies...); err != nil { // an overlay can have them already
		return err
	}
	err := env.Beside(ctx, func(neighbour string) error {
		if err := callUninvited(ctx, env, neighbour, 0, &seen.Before); err != nil {
			return err
		}
		env.Note("apply %d NetworkPolicies", len(env.Policies))
		if err := env.Kube.Apply(ctx, slices.Concat(env.Policies, forProbes(env.Policies, env.Client))...); err != nil {
			return err
		}
		for n := range enforcing {
			if err := callUninvited(ctx, env, neighbour, n+1, &seen.After); err != nil {
				return err
			}
			if allRefused(seen.After.Stranger) && allRefused(seen.After.Neighbour) {
				return nil
			}
		}
		if allAnswered(seen.After.Stranger) && allAnswered(seen.After.Neighbour) {
			return observe.Reason{Kind: observe.Lacking, Text: "this cluster does not enforce NetworkPolicies: it answers pods that they do not admit"}
		}
		return nil // that it refuses one of them alone is a result
	})
	if err != nil {
		return err
	}
	return startAnew(ctx, env)
}

// callUninvited runs both Jobs for the nth time. They call a server by its address, so that nothing but the
// policies can refuse them.
func callUninvited(ctx context.Context, env *runner.Environment, neighbour string, n int, seen *Uninvited) error {
	to, err := serverAddress(env)
	if err != nil {
		return err
	}
	call := func(c runner.ClientJob, ran **runner.ClientResult) func(context.Context) error {
		return func(ctx context.Context) error {
			c.Limit, c.MayFail = strangeTime, true
			c.Args = []string{"--target=passthrough:///" + to, fmt.Sprintf("--fresh-connections=%d", strangeCalls), "--timeout=" + strangeTimeout.String()}
			result, err := env.RunClient(ctx, c)
			if err == nil {
				env.Record.Update(func(*observe.Facts) { *ran = &result })
			}
			return err
		}
	}
	return alongside(ctx,
		call(runner.ClientJob{Name: fmt.Sprintf("stranger-%d", n), Labels: map[string]string{observe.NameLabel: stranger, "sidecar.istio.io/inject": "false"}}, &seen.Stranger),
		call(runner.ClientJob{Name: fmt.Sprintf("neighbour-%d", n), Namespace: neighbour, Labels: map[string]string{observe.NameLabel: env.Client}}, &seen.Neighbour))
}

// serverAddress returns the address of a server that is ready, and its port.
func serverAddress(env *runner.Environment) (string, error) {
	var ready map[string]string
	env.Record.Look(func(f *observe.Facts) {
		if len(f.Endpoints) > 0 {
			ready = f.Endpoints[len(f.Endpoints)-1].Ready
		}
	})
	ports := env.Servers.Spec.Template.Spec.Containers[0].Ports
	if len(ready) == 0 || len(ports) == 0 {
		return "", fmt.Errorf("%d servers are ready, and their container has %d ports: expected some", len(ready), len(ports))
	}
	return net.JoinHostPort(ready[observe.Keys(ready)[0]], strconv.Itoa(int(ports[0].ContainerPort))), nil
}

// forProbes returns the policies that name the client, with the label of the lab's Jobs in
// place of the client's: a Job is a client, but not one of the Deployment's.
func forProbes(policies []*unstructured.Unstructured, client string) (all []*unstructured.Unstructured) {
	for _, policy := range policies {
		probes := policy.DeepCopy()
		spec, _ := probes.Object["spec"].(map[string]any)
		if relabel(spec, client, runner.ProbeName) {
			probes.SetName("lab-" + policy.GetName())
			all = append(all, probes)
		}
	}
	return all
}

// relabel replaces the value of the name's label in all selectors, and tells whether there
// was one.
func relabel(node any, from, to string) (found bool) {
	switch n := node.(type) {
	case map[string]any:
		for key, value := range n {
			if key == observe.NameLabel && value == from {
				n[key], found = to, true
			}
			found = relabel(value, from, to) || found
		}
	case []any:
		for _, value := range n {
			found = relabel(value, from, to) || found
		}
	}
	return found
}

// startAnew deletes all pods, so that every connection is made under the policies.
func startAnew(ctx context.Context, env *runner.Environment) error {
	env.Note("start the servers anew, and what is between them and the clients")
	var before []string
	env.Record.Look(func(f *observe.Facts) { before = f.ReadyNow() })
	pods := env.Kube.Typed.CoreV1().Pods(env.Namespace)
	if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: observe.NameLabel + "!=" + env.Client}); err != nil {
		return fmt.Errorf("deleting the pods: %w", err)
	}
	if err := env.Await(ctx, runner.SteadyTimeout, "servers that started anew", func(f *observe.Facts) string {
		ready := f.ReadyNow()
		if fresh := runner.Without(ready, before); len(fresh) < len(ready) || len(fresh) != env.Replicas() {
			return fmt.Sprintf("%d of %d are ready", len(fresh), env.Replicas())
		}
		return ""
	}); err != nil {
		return err
	}
	if env.Proxies != nil {
		if err := env.Kube.Available(ctx, env.Namespace, env.Proxies.Name); err != nil {
			return err
		}
	}
	if env.Strategy.ByName {
		// A client that starts before the rules for its pod are in force is refused, and resolves
		// the name again in that time, and once more: gRPC's resolver remembers one refusal
		// that comes while it waits. Later it would see a scale-out by that.
		env.Settling = 2 * relearning.In(env.DNS)
	}
	return env.RestartClients(ctx)
}

// watchClosed watches the calls, and then what a client says that starts without the rule
// for the API server.
func watchClosed(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	if err := everyServerCalled.Hold(ctx, env); err != nil {
		return err
	}
	env.Record.Update(func(f *observe.Facts) {
		p.Begin, p.Clients, p.Servers = time.Now(), f.Running(), f.ReadyNow()
		p.Change = p.Begin
	})
	if err := poll.Sleep(ctx, underPolicies); err != nil {
		return err
	}
	if !asksAPI(env.Strategy) || env.Strategy.Proxy != "" {
		return nil
	}
	return withoutAPIRule(ctx, env, p)
}

// withoutAPIRule starts a client while nothing admits the API server.
func withoutAPIRule(ctx context.Context, env *runner.Environment, p *observe.Phase) error {
	rules := slices.DeleteFunc(slices.Concat(env.Policies, forProbes(env.Policies, env.Client)), func(o *unstructured.Unstructured) bool {
		return o.GetName() != apiPolicy && o.GetName() != "lab-"+apiPolicy
	})
	if len(rules) == 0 {
		return fmt.Errorf("none of the overlay's policies has the name %s", apiPolicy)
	}
	env.Note("delete the policy %s", apiPolicy)
	if err := env.Kube.Delete(ctx, rules...); err != nil {
		return err
	}
	defer func() {
		env.Note("apply the policy %s again", apiPolicy)
		if err := env.Kube.Apply(context.WithoutCancel(ctx), rules...); err != nil {
			env.Note("%v", err)
		}
	}()
	seen, _ := p.Evidence.(*Closed)
	for n := range enforcing { // until what was deleted is closed
		// A connection that is open before the rules for its pod are in force stays open.
		ran, err := env.RunClient(ctx, runner.ClientJob{
			Name: fmt.Sprintf("unruled-%d", n), Late: true, Limit: strangeTime, MayFail: true,
			Args: append(slices.Clone(env.Clients.Spec.Template.Spec.Containers[0].Args), "--duration="+newcomerTime.String(), "--timeout="+newcomerTime.String()),
		})
		if err != nil {
			return err
		}
		env.Record.Update(func(*observe.Facts) { seen.Unruled = &ran })
		if allRefused(&ran) && unreachableAPI.in(ran.Failure) {
			return nil
		}
	}
	return nil // that it says something else is a result
}

func allRefused(ran *runner.ClientResult) bool {
	return ran.Summary.Calls > 0 && distribution.Counts(ran.Summary.Failures).Total() == ran.Summary.Calls
}

func allAnswered(ran *runner.ClientResult) bool {
	return ran.Summary.Calls > 0 && distribution.Counts(ran.Summary.Failures).Total() == 0
}
