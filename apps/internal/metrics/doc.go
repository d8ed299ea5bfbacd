// Package metrics serves gRPC's OpenTelemetry metrics to a Prometheus. Nothing is
// measured, and nothing listens, in a process that does not ask for it.
package metrics
