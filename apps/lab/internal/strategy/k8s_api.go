package strategy

import (
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

var _ = add(runner.Strategy{
	Name: "k8s-api", Order: 50,
	Recognises:  func(v balance.View) bool { return v.Scheme == "k8s" },
	Balancer:    "client, round_robin over EndpointSlices",
	EveryServer: true,
	Code:        "apps/k8sresolver",
	Grants: []manifest.Grant{{Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"}},
	}}},
	Claims: []runner.Claim{
		roundRobinIsEven,
		{
			ID:        8,
			Text:      "the resolver gets the whole list, then watches",
			Criterion: by(exactly("nothing else is requested"), listsThenWatches),
		},
		{
			ID:        9,
			Text:      "after a scale-out every client calls every new pod",
			Goal:      newPodGoal,
			Criterion: ofAdded(newPod, called),
		},
	},
})

const endpointSlices = "endpointslices.discovery.k8s.io"

// listsThenWatches wants, for every client of the steady state, one whole list
// and then a watch, or a watch that streams the list first. Later lists are
// right only where a watch follows at once: that is how a broken watch is
// resumed, while a poll is list after list.
func listsThenWatches(f *observe.Facts, _ exactly) runner.Verdict {
	if f.RequestsUnknown != (observe.Reason{}) {
		return runner.NotRunFor(f.RequestsUnknown)
	}
	steady, why := f.Phase(Steady)
	if steady == nil {
		return runner.NotRunFor(why)
	}
	byPod := map[string][]observe.Request{}
	for _, r := range f.Requests {
		byPod[r.Pod] = append(byPod[r.Pod], r)
	}
	lists, watches, streamed := 0, 0, 0
	for _, client := range steady.Clients {
		requests := byPod[client]
		if len(requests) == 0 {
			return runner.Decided(false, "%s asked the API server for nothing", client)
		}
		slices.SortStableFunc(requests, func(a, b observe.Request) int { return a.At.Compare(b.At) })
		for i, r := range requests {
			listed := r.Verb == "list"
			switch {
			case r.Resource != endpointSlices || (r.Verb != "list" && r.Verb != "watch"):
				return runner.Decided(false, "%s asked to %s %s", client, r.Verb, r.Resource)
			case r.Code >= 400:
				return runner.Decided(false, "%s was answered %d when it asked to %s", client, r.Code, r.Verb)
			case i == 0 && !listed && !r.Streamed:
				return runner.Decided(false, "%s watched without having the list", client)
			case listed && (i+1 == len(requests) || requests[i+1].Verb != "watch"):
				return runner.Decided(false, "%s listed without watching after it", client)
			}
			switch {
			case listed:
				lists++
			case r.Streamed:
				streamed++
			default:
				watches++
			}
		}
	}
	return runner.Decided(true, "%d clients: %s, nothing else", len(steady.Clients), requestsText(lists, watches, streamed)).With("%d requests", lists+watches+streamed)
}

func requestsText(lists, watches, streamed int) string {
	if streamed > 0 && lists == 0 {
		return fmt.Sprintf("%d watches that began with the whole list, %d resumed", streamed, watches)
	}
	return fmt.Sprintf("%d lists, %d watches, %d streamed lists", lists, watches, streamed)
}
