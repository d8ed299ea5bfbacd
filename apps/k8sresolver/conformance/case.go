package conformance

import (
	"context"
	"runtime/pprof"
	"slices"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/conformance/controlplane"
)

// Case is one thing that can go wrong.
type Case struct {
	Name string // of what goes wrong
	Want string // what a resolver does that has it right
	Real bool   // against a real API server
	run  func(*bench)
}

// Cases returns all cases, each under a name of its own within its kind.
func Cases() []Case {
	var all []Case
	for _, group := range [][]Case{
		joinCases, conditionCases, portCases, hintCases, targetCases,
		startCases, failureCases, lossCases, streamCases, updateCases, stateCases,
		shareCases, closeCases, callCases,
	} {
		all = append(all, group...)
	}
	for _, c := range slices.Concat(joinCases, conditionCases) {
		c.Real = true
		all = append(all, c)
	}
	for _, c := range slices.Concat(clusterCases, faultCases) {
		c.Real = true
		all = append(all, c)
	}
	return all
}

// Kind returns where the case runs: "scripted" or "real".
func (c Case) Kind() string {
	if c.Real {
		return "real"
	}
	return "scripted"
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
