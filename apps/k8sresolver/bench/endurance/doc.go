// Package endurance holds tests that load package k8sresolver for long or with much:
// thousands of lost watches, an API server that is down for minutes, rollouts under
// calls, ten thousand endpoints. Each prints the figures that it measures. Plain
// go test runs a light version of each; the flag -endurance.full runs the whole.
package endurance
