package strategy

import (
	"fmt"
	"maps"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

var _ = claimOfEvery(runner.Claim{
	ID:        15,
	Text:      "the log names who answered every call",
	Criterion: by(exactly("windows = summary = what the servers counted"), accounted),
})

// accounted compares three counts of the same calls that were made
// independently: the sum of the windows, the summary, and what the servers
// counted. A server may have counted calls whose answer came too late for the
// client; it can have counted no more than the failed ones.
func accounted(f *observe.Facts, _ exactly) runner.Verdict {
	if len(f.Clients) == 0 || len(f.Servers) == 0 {
		return runner.NotRun("the logs of %d clients and %d servers were read", len(f.Clients), len(f.Servers))
	}
	answered, failed := distribution.Counts{}, int64(0)
	for _, name := range observe.Keys(f.Clients) {
		c := f.Clients[name]
		switch {
		case c.Trouble != "":
			return runner.NotRun("the log of %s is not whole: %s", name, c.Trouble)
		case c.Summary == nil:
			return runner.NotRun("the log of %s has no summary", name)
		}
		if wrong := windowsEqualSummary(c); wrong != "" {
			return runner.Decided(false, "%s: %s", name, wrong)
		}
		answered = answered.Plus(c.Summary.Servers)
		failed += distribution.Counts(c.Summary.Failures).Total()
	}
	for _, s := range f.Probes() {
		answered = answered.Plus(s.Servers)
		failed += distribution.Counts(s.Failures).Total()
	}
	var counted, late int64
	for _, name := range observe.Keys(f.Servers) {
		s := f.Servers[name]
		switch {
		case s.Trouble != "":
			return runner.NotRun("the log of %s is not whole: %s", name, s.Trouble)
		case s.Calls == nil:
			return runner.NotRun("%s did not log how many calls it answered", name)
		case *s.Calls < answered[name]:
			return runner.Decided(false, "%s counted %d calls, clients say that it answered %d", name, *s.Calls, answered[name])
		}
		counted += *s.Calls
		late += *s.Calls - answered[name]
	}
	for name := range answered {
		if f.Servers[name] == nil && !isNext(f, name) {
			return runner.Decided(false, "clients name %q, which is no server pod of this run", name)
		}
	}
	return runner.Decided(late <= failed, "%d answers in the logs of %d clients, %d counted by %d servers, %d calls failed",
		answered.Total(), len(f.Clients), counted, len(f.Servers), failed).With("%d answers", answered.Total())
}

// windowsEqualSummary returns how the sum of the windows differs, or "".
func windowsEqualSummary(c *observe.Client) string {
	var all, issued int64
	servers, failed := distribution.Counts{}, distribution.Counts{}
	for i, w := range c.Windows {
		if w.Seq != i+1 {
			return fmt.Sprintf("window %d follows window %d", w.Seq, i)
		}
		if sum := distribution.Counts(w.Servers).Total() + distribution.Counts(w.Failures).Total(); sum != w.Calls {
			return fmt.Sprintf("window %d names who answered or failed %d of %d calls", w.Seq, sum, w.Calls)
		}
		all, issued = all+w.Calls, issued+w.Issued
		servers, failed = servers.Plus(w.Servers), failed.Plus(w.Failures)
	}
	s := c.Summary
	switch {
	case all != s.Calls || issued != s.Issued:
		return fmt.Sprintf("the windows sum to %d calls of %d issued, the summary says %d of %d", all, issued, s.Calls, s.Issued)
	case !maps.Equal(servers, distribution.Counts{}.Plus(s.Servers)) || !maps.Equal(failed, distribution.Counts{}.Plus(s.Failures)):
		return fmt.Sprintf("the windows name %v and failures %v, the summary %v and %v", servers, failed, s.Servers, s.Failures)
	}
	return ""
}
