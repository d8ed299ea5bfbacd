package runner

import (
	"context"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
)

// Experiment is one change made to a strategy in a steady state.
type Experiment struct {
	Name string
	// Order is its place among a strategy's experiments; those of one order are
	// made as they are listed.
	Order int
	// Steady is the state in which it begins.
	Steady State
	// Change is Act in words.
	Change string
	// Act makes the change and Observe waits for what follows from it.
	Act, Observe func(context.Context, *Environment, *observe.Phase) error
	// Assert says what came out. It is pure and runs when all logs are read.
	Assert func(*observe.Facts, *observe.Phase) []report.Finding
	// Undo is called after success and after an error, and after an interruption if the
	// experiment is made alone.
	Undo func(context.Context, *Environment) error
	// AtRest says that strategies that run side by side make it together, so that
	// none disturbs another: they wait for each other after Hold, which is then
	// called again, and at the end.
	AtRest bool
	// StartsPods says that the change starts many pods: few strategies do so at
	// the same time.
	StartsPods bool
	// Edits says that the change edits what the overlay says, which a deployer
	// would undo.
	Edits bool
	// Alone experiments take away what other strategies need too.
	Alone bool
	// Metrics says that it reads metrics.k8s.io, as an HPA does.
	Metrics bool
	// GatewayAPI says that it makes objects of the Gateway API.
	GatewayAPI bool
	// Policies says that it puts the overlay's NetworkPolicies in force for itself and for all
	// experiments after it. Where it is not measured, the strategy is not run: what is
	// claimed then would be claimed without the policies.
	Policies bool
	// Rights returns the access that it takes beyond what every run does; nil means
	// none.
	Rights func(Strategy) []Access
	// Purpose limits the experiment to one kind of run.
	Purpose Purpose
	// Inner experiments are made while the change is in force.
	Inner []Experiment
}

// State is a state of a strategy's clients and servers.
type State struct {
	Text string
	// Hold brings the state about and checks it.
	Hold func(context.Context, *Environment) error
}

// Purpose is what a run is for.
type Purpose int

// The purposes; an experiment without one is made for all.
const (
	Any Purpose = iota
	// Prove judges the claims.
	Prove
	// Compare measures what the strategies cost.
	Compare
	// Watch shows the strategies while somebody changes them.
	Watch
)

// servesFor tells whether it is made in a run of that purpose.
func (e Experiment) servesFor(purpose Purpose) bool {
	return e.Purpose == Any || e.Purpose == purpose
}
