// Package loadgen calls EchoService and tells who answered.
//
// A Client makes calls in one of three ways: an open loop (a fixed rate, even if
// answers are slow), a closed loop (a fixed number of callers) or one call on
// each of many fresh connections. One tally counts them all, in windows of a
// second and in total, and one goroutine writes the lines of package calllog.
// The same counts answer gRPC's standard LoadBalancerStatsService, and
// ClientControlService changes the rate of an open loop while it runs.
package loadgen
