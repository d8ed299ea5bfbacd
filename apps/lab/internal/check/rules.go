package check

import (
	"fmt"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Rule is one thing that overlays, or Argo CD's files, must hold to.
type Rule struct {
	Name   string // stable: scripts may know it
	Remedy string // what to do about a violation
	Family Family

	// One of these is set; it reports violations in any order.
	tree    func(t *tree, wrong reportFile)
	objects func(r manifest.Rendering, wrong reportObject)
	argocd  func(a *manifest.ArgoCD, wrong reportObject)
	finding bool // package balance judges, see findings
}

// reportFile reports a violation in a file, of an object or of "".
type reportFile func(file, object, format string, args ...any)

// reportObject reports what is wrong with an object, or is missing where it is
// nil. The value, unless it is "", tells which of the object's files is at fault.
type reportObject func(o manifest.Named, value, format string, args ...any)

func (r Rule) violation(file, object, overlay, text string) Violation {
	v := Violation{Rule: r.Name, File: file, Object: object, Text: text, Remedy: r.Remedy}
	if overlay != "" {
		v.Overlays = []string{overlay}
	}
	return v
}

// reporter returns what collects the violations of one rule.
func (r Rule) reporter(found *[]Violation, overlay string, from origins) reportObject {
	return func(o manifest.Named, value, format string, args ...any) {
		object := ""
		if o != nil {
			object = manifest.Describe(o)
		}
		*found = append(*found, r.violation(from.file(object, value), object, overlay, fmt.Sprintf(format, args...)))
	}
}

// Family tells what a rule is about.
type Family string

// The families.
const (
	// Balancing rules are about how calls reach their servers, in any manifests.
	Balancing Family = "balancing"
	// House rules are conventions of this repository.
	House Family = "house"
)

// Rules lists every rule. Each stands beside its judge, whose comment says what it
// wants.
var Rules = slices.Concat(of(Balancing, balancingRules), of(House, houseRules))

func of(family Family, rules []Rule) []Rule {
	for i := range rules {
		rules[i].Family = family
	}
	return rules
}
