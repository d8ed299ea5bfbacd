// Package peakewma is a gRPC balancer that sends each call to the faster of two
// endpoints chosen at random. Importing it registers it:
//
//	import _ "github.com/grpc-lb/grpc-lb/apps/peakewma"
//	...
//	grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"peak_ewma_experimental":{}}]}`)
//
// Fast is what the client itself has seen: an exponentially weighted moving average
// of how long answers took, which rises at once with a slow one (the peak) and
// falls within "decay" (default 10s), times the calls that wait for an answer.
// Two choices at random keep clients from all choosing the same endpoint
// (Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001). The
// average is that of Finagle's PeakEwma.
//
// Servers need not report anything, unlike for weighted_round_robin. In return it
// knows only what its own client has called: one that calls seldom learns little.
// A call that fails with UNAVAILABLE, RESOURCE_EXHAUSTED or DEADLINE_EXCEEDED
// counts as one that took a second, so that an endpoint which fails fast attracts
// no calls.
//
// It is for unary calls. A stream takes as long as its client wants it to, which
// says nothing about the server.
package peakewma
