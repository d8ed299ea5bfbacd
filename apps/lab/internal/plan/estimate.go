package plan

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
)

// The minutes of a run beside those for its components.
const (
	bootMinutes    = 2 // nodes and images
	measureMinutes = 3 // a group of strategies
	syncMinutes    = 6 // what Argo CD is tried with
)

// Estimate says what a run makes, boots being what the cluster is made of that it
// boots, about how long it takes on so many CPUs, and what comes first.
func (p *Plan) Estimate(boots []component.Component, cpus int) (string, error) {
	work, err := p.builder.Work(slices.Concat(boots, p.Components()))
	if err != nil {
		return "", err
	}
	first, then, err := p.split()
	if err != nil {
		return "", err
	}
	said := made(p.builder, work)
	total := work.Minutes(cpus) + bootMinutes + measureMinutes
	if p.GitOps {
		total += syncMinutes
	}
	if first == nil {
		return fmt.Sprintf("%s; all claims in %s", said, about(total, cpus)), nil
	}
	before, err := p.builder.Work(slices.Concat(boots, first.Components()))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; first the claims about %s, in %s, then those about %s, in %s", said,
		listed(first.names()), about(before.Minutes(cpus)+bootMinutes+measureMinutes, cpus), listed(then.names()), about(total+measureMinutes, cpus)), nil
}

// made says where components come from that are not there.
func made(b component.Builder, work component.Work) string {
	var parts []string
	if len(work.Compile) > 0 {
		why := "no digest of these sources is in " + component.Digests
		if b.Registry == nil {
			why = "no registry may be asked"
		}
		parts = append(parts, fmt.Sprintf("builds %s, since %s", listed(namesOf(work.Compile)), why))
	}
	if len(work.Fetch) > 0 {
		parts = append(parts, fmt.Sprintf("fetches %s from %s", listed(namesOf(work.Fetch)), b.Registry))
	}
	if len(parts) == 0 {
		return "everything is built"
	}
	return strings.Join(parts, "; ")
}

func namesOf(components []component.Component) (names []string) {
	for _, c := range components {
		names = append(names, c.Name)
	}
	return names
}

// listed joins names as a sentence does.
func listed(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

func about(minutes float64, cpus int) string {
	return fmt.Sprintf("about %.0f min on %d CPUs", math.Ceil(minutes), cpus)
}
