package experiment

import "context"

// What only tests outside of the package reach for.
var (
	ReadStamped    = readStamped
	ReadAudit      = readAudit
	ReadyPods      = readyPods
	ClaimNamespace = claimNamespace
	ProbeJob       = job
	IngestClient   = ingestClient
	IngestServer   = ingestServer
	Row            = row
	Findings       = findings
	Brief          = brief
	SentTo         = sentTo
	Counter        = counter
)

// Quiet gives tests the meeting of strategies.
type Quiet struct{ quiet }

func (q *Quiet) Join() (leave func())           { return q.join() }
func (q *Quiet) Wait(ctx context.Context) error { return q.wait(ctx) }

// findings returns what the named experiment asserts about the facts.
func findings(name string, f *Facts) []string {
	var all []string
	var walk func([]Experiment)
	walk = func(es []Experiment) {
		for _, e := range es {
			if e.Name == name && e.assert != nil {
				for _, found := range e.assert(f, f.Phases[name]) {
					mark := "no: "
					if found.Holds {
						mark = "yes: "
					}
					all = append(all, mark+found.Text+": "+found.Measured)
				}
			}
			walk(e.inner)
		}
	}
	walk(Experiments)
	return all
}
