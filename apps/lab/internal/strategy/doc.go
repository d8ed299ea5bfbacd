// Package strategy holds what is known about each strategy: the registry
// ([All]), the experiments, and the claims with the pure functions that judge
// them. Package runner runs them.
package strategy
