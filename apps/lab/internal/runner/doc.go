// Package runner measures strategies on a running cluster. Each strategy runs in
// its own namespace, its [Environment]: the runner applies the overlay, makes the
// experiments one after the other, shuts everything down, and then lets claims
// judge the facts, which do not change any more.
//
// It defines the types Strategy, Experiment and Claim. Package strategy holds their
// values.
package runner
