package conformance

import (
	"context"
	"runtime/pprof"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/controlplane"
)

// Case is one thing that can go wrong.
type Case struct {
	Name string // of what goes wrong
	Want string // what a resolver does that has it right
	Real bool   // against a real API server
	run  func(*bench)
}

// Cases returns all cases, whose String differs.
func Cases() []Case {
	all := slices.Concat(
		joinCases, conditionCases, portCases, hintCases, targetCases,
		startCases, failureCases, endlessCases, lossCases, streamCases, updateCases, stateCases,
		shareCases, closeCases, callCases,
	)
	for _, c := range slices.Concat(joinCases, conditionCases, clusterCases, faultCases) {
		c.Real = true
		all = append(all, c)
	}
	return all
}

// String returns the name with where the case runs before it, as in
// scripted/last-slice-wins and real/last-slice-wins.
func (c Case) String() string {
	if c.Real {
		return "real/" + c.Name
	}
	return "scripted/" + c.Name
}

func (c Case) runWith(t *checker, s Subject, cp *controlplane.ControlPlane) {
	var b *bench
	if c.Real {
		b = newRealBench(t, s, cp)
	} else {
		b = newScriptedBench(t, s)
	}
	// Goroutines inherit the label: the ones that the subject leaves behind are told
	// from those of other cases.
	pprof.Do(t.Context(), pprof.Labels(caseLabel, b.id), func(context.Context) { c.run(b) })
}
