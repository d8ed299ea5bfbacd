// Package runner measures strategies on a running cluster. Each strategy runs in
// its own namespace, its [Environment]: the runner applies the overlay, makes the
// experiments one after the other, shuts everything down, and then lets claims
// judge the facts, which do not change any more.
//
// What a strategy, an experiment and a claim are is defined here; package strategy
// holds the ones that there are.
package runner
