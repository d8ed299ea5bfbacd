package k8sresolver

import (
	"sync/atomic"

	estats "google.golang.org/grpc/experimental/stats"
)

// gRPC wants metrics described while packages are initialized, and its telemetry
// looks them up by name. Nothing is recorded except through the recorder that a
// channel passes to Build, and only if its owner asks for the metric by name.
var (
	watchUp = estats.RegisterInt64AsyncGauge(describe("k8sresolver.watch.up", "{watch}",
		"1 while the watch of the target's EndpointSlices is open, else 0."))
	watchStaleness = estats.RegisterInt64AsyncGauge(describe("k8sresolver.watch.staleness", "s",
		"Time since the watch was lost, during which changes may have been missed; 0 while it is open."))
	endpointsByState = estats.RegisterInt64AsyncGauge(describe("k8sresolver.endpoints", "{endpoint}",
		"Endpoints of the target by state: ready, draining (terminating, but still serving), unready, skipped (without the port, or with a name instead of an address), and used, which counts those given to gRPC again.", "k8sresolver.state"))
	eventsReceived = estats.RegisterInt64Count(describe("k8sresolver.events", "{event}",
		"Changes of EndpointSlices that were received for the channel. Channels that share a watch each count them."))
	updatesMade = estats.RegisterInt64Count(describe("k8sresolver.updates", "{update}",
		"Sets of endpoints that were given to gRPC."))
)

// describe describes a metric, which has the channel's target as its first label.
func describe(name, unit, text string, labels ...string) estats.MetricDescriptor {
	return estats.MetricDescriptor{
		Name:        name,
		Description: "EXPERIMENTAL. " + text,
		Unit:        unit,
		Labels:      append([]string{"grpc.target"}, labels...),
	}
}

// metrics records what happens to one channel.
type metrics struct {
	recorder   estats.MetricsRecorder
	target     string
	store      *store
	unregister func()

	latest atomic.Pointer[counts] // read by report in other goroutines
	events int64                  // of the store, as far as they are counted
}

// counts is what the endpoints gauge tells.
type counts struct {
	tally
	used int
}

// newMetrics returns metrics that end with close. Without a recorder nothing is
// recorded.
func newMetrics(recorder estats.MetricsRecorder, target string, s *store) *metrics {
	if recorder == nil {
		recorder = estats.UnimplementedMetricsRecorder{}
	}
	m := &metrics{recorder: recorder, target: target, store: s, events: s.status().events}
	// Channels to the same target report the same values under the same labels.
	m.unregister = recorder.RegisterAsyncReporter(estats.AsyncMetricReporterFunc(m.report), watchUp, watchStaleness, endpointsByState)
	return m
}

func (m *metrics) close() { m.unregister() }

// saw takes note of what the channel looked at; v is nil before the first answer.
func (m *metrics) saw(v *view, s status) {
	if v != nil {
		m.latest.Store(&counts{tally: v.tally, used: v.endpoints()})
	}
	if news := s.events - m.events; news > 0 {
		m.events = s.events
		eventsReceived.Record(m.recorder, news, m.target)
	}
}

func (m *metrics) updated() { updatesMade.Record(m.recorder, 1, m.target) }

func (m *metrics) report(r estats.AsyncMetricsRecorder) error {
	s := m.store.status()
	watchUp.Record(r, int64(bit(s.up)), m.target)
	watchStaleness.Record(r, int64(s.staleness().Seconds()), m.target)
	c := m.latest.Load()
	if c == nil {
		return nil
	}
	for state, n := range map[string]int{
		"ready":    c.ready,
		"draining": c.draining,
		"unready":  c.endpoints - c.ready - c.draining,
		"skipped":  c.portless + c.fqdn,
		"used":     c.used,
	} {
		endpointsByState.Record(r, int64(n), m.target, state)
	}
	return nil
}
