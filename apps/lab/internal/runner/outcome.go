package runner

import (
	"slices"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/timeline"
)

// outcome judges, when everything has ended and nothing changes the facts.
func (m *measurement) outcome() outcome {
	o := outcome{overlay: m.Overlay, reason: m.reason()}
	o.row = report.Strategy{Name: m.Name, Balancer: m.Balancer, Status: report.Ran}
	facts := observe.NewFacts(observe.Subject{Strategy: m.Name, Namespace: m.Namespace, DNS: m.in.DNS})
	if m.env != nil {
		o.row.Journal = m.env.own
	}
	if o.reason == (observe.Reason{}) {
		facts = m.env.facts
		m.env.finish(m.Experiments)
		o.row.Timeline = timeline.Of(facts)
		if err := m.in.Summarize(facts, changeOf(m.Strategy, m.env.Clients, m.l4, m.Objects), &o.row); err != nil {
			o.reason.Text = err.Error()
		}
		if !m.in.alone() {
			o.row.FailedCalls, o.row.P99Millis = nil, nil // they say more about the machine
		}
	}
	facts.Differs, facts.Preflight = m.differs, m.checked
	if m.unchecked != nil {
		facts.PreflightUnknown = reasonOf(m.unchecked)
	}
	o.row.Note = strings.Join(m.notes(), "; ")
	if o.reason != (observe.Reason{}) {
		o.row.Status, o.row.Reason = report.NotRun, o.reason.Text
	}
	if m.env != nil {
		for _, e := range m.env.experiments {
			timed := *e
			if p := m.env.facts.Phases[e.Name]; p != nil {
				timed.Begin, timed.Changed, timed.End = p.Begin, p.Change, p.End
			}
			o.experiments = append(o.experiments, timed)
		}
	}
	for _, c := range m.Claims {
		o.claims = append(o.claims, c.Judge(facts, o.reason))
	}
	return o
}

// reason says why the strategy did not run.
func (m *measurement) reason() observe.Reason {
	switch {
	case m.err != nil:
		return reasonOf(m.err)
	case m.NotRun != "":
		return observe.Reason{Kind: observe.Lacking, Text: m.NotRun}
	case m.env == nil:
		return observe.Reason{Text: "the run ended before it"}
	}
	return observe.Reason{}
}

// notes say what is beside the overlay's own.
func (m *measurement) notes() []string {
	follows := ""
	if m.Follows != "" {
		follows = "it follows " + m.Follows
	}
	return nonEmpty(slices.Concat([]string{follows}, m.Origins, m.installed)...)
}

func nonEmpty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(t string) bool { return t == "" })
}
