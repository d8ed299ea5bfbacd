package strategy

import (
	"fmt"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// ofClosed decides by one uninvited pod's calls, without the policies and under them.
func ofClosed(which func(Uninvited) *runner.ClientResult) func(*observe.Facts, *observe.Phase, exactly) runner.Verdict {
	return func(_ *observe.Facts, p *observe.Phase, _ exactly) runner.Verdict {
		seen, _ := p.Evidence.(*Closed)
		if seen == nil || which(seen.Before) == nil || which(seen.After) == nil {
			return runner.NotRun("it did not call both without the policies and under them")
		}
		before, after := which(seen.Before), which(seen.After)
		if !allAnswered(before) {
			return runner.NotRun("%d of its %d calls failed without the policies%s", failedOf(before), before.Summary.Calls, because(before))
		}
		return runner.Decided(allRefused(after), "%d of %d calls failed under the policies, none of %d without them%s", failedOf(after), after.Summary.Calls, before.Summary.Calls, because(after)).
			With("%d of %d failed", failedOf(after), after.Summary.Calls)
	}
}

func theStranger(u Uninvited) *runner.ClientResult  { return u.Stranger }
func theNeighbour(u Uninvited) *runner.ClientResult { return u.Neighbour }

func failedOf(ran *runner.ClientResult) int64 {
	return distribution.Counts(ran.Summary.Failures).Total()
}

// unruledSays wants that all calls failed of the client that started without the rule for
// the API server, with a text that the resolver's README promises.
func unruledSays(_ *observe.Facts, p *observe.Phase, said saysOneOf) runner.Verdict {
	seen, _ := p.Evidence.(*Closed)
	if seen == nil || seen.Unruled == nil || seen.Unruled.Summary.Calls == 0 {
		return runner.NotRun("no client started without the rule")
	}
	ran := seen.Unruled
	failed := ran.Summary.Failures["Unavailable"]
	return runner.Decided(failed == ran.Summary.Calls && said.in(ran.Failure), "%d of %d calls failed with Unavailable%s", failed, ran.Summary.Calls, because(ran)).
		With("%d of %d failed", failed, ran.Summary.Calls)
}

// saysOneOf are texts of which an error must contain one.
type saysOneOf []string

func (s saysOneOf) in(text string) bool {
	for _, one := range s {
		if strings.Contains(text, one) {
			return true
		}
	}
	return false
}

func (s saysOneOf) Sentence(observe.DNS) string {
	quoted := make([]string, len(s))
	for i, one := range s {
		quoted[i] = fmt.Sprintf("%q", one)
	}
	return "all its calls fail with Unavailable and " + strings.Join(quoted, " or ")
}
