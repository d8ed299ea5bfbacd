package runner

import (
	"slices"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// outcome judges, when everything has ended and nothing changes the facts.
func (r *run) outcome() outcome {
	o := outcome{strategy: r.strategy, reason: r.reason()}
	o.row = report.Strategy{Name: r.strategy.Name, Balancer: r.strategy.Balancer, Status: report.Ran}
	facts := observe.NewFacts(observe.Subject{Strategy: r.strategy.Name, Namespace: r.namespace, DNS: r.cfg.DNS})
	if r.env != nil {
		o.row.Journal = r.env.own
	}
	if o.reason == (observe.Reason{}) {
		facts = r.env.facts
		r.env.finish(r.strategy.Experiments)
		if err := r.cfg.Summarize(facts, changeOf(r.strategy, r.env.Clients, r.l4, r.objects), &o.row); err != nil {
			o.reason.Text = err.Error()
		}
	}
	facts.Differs, facts.Preflight = r.differs, r.checked
	if r.unchecked != nil {
		facts.PreflightUnknown = reasonOf(r.unchecked)
	}
	o.row.Note = strings.Join(r.notes(), "; ")
	if o.reason != (observe.Reason{}) {
		o.row.Status, o.row.Reason = report.NotRun, o.reason.Text
	}
	if r.env != nil {
		for _, e := range r.env.experiments {
			o.experiments = append(o.experiments, *e)
		}
	}
	for _, c := range r.strategy.Claims {
		o.claims = append(o.claims, c.Judge(facts, o.reason))
	}
	return o
}

// reason says why the strategy did not run.
func (r *run) reason() observe.Reason {
	switch {
	case r.err != nil:
		return reasonOf(r.err)
	case r.strategy.NotRun != "":
		return observe.Reason{Kind: observe.Lacking, Text: r.strategy.NotRun}
	case r.env == nil:
		return observe.Reason{Text: "the run ended before it"}
	}
	return observe.Reason{}
}

// notes say what is beside the overlay's own.
func (r *run) notes() []string {
	follows := ""
	if r.strategy.Follows != "" {
		follows = "it follows " + r.strategy.Follows
	}
	return nonEmpty(slices.Concat([]string{follows}, r.cfg.Origins[r.strategy.Name], []string{r.installed})...)
}

func nonEmpty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(t string) bool { return t == "" })
}
