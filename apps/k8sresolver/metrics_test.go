package k8sresolver_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	estats "google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/stats/opentelemetry"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// meter is a telemetry plugin that keeps sums, and asks for gauges when it is read.
type meter struct {
	estats.UnimplementedMetricsRecorder

	mu       sync.Mutex
	sums     map[string]int64
	reporter estats.AsyncMetricReporter
}

func (m *meter) RecordInt64Count(h *estats.Int64CountHandle, n int64, labels ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sums[series(h.Name, labels)] += n
}

func (m *meter) RegisterAsyncReporter(r estats.AsyncMetricReporter, _ ...estats.AsyncMetric) func() {
	m.reporter = r
	return func() { m.reporter = nil }
}

func series(name string, labels []string) string {
	return strings.Join(append([]string{strings.TrimPrefix(name, "k8sresolver.")}, labels...), " ")
}

type gauges map[string]int64

func (g gauges) RecordInt64AsyncGauge(h *estats.Int64AsyncGaugeHandle, n int64, labels ...string) {
	g[series(h.Name, labels)] = n
}

func (m *meter) read(t *testing.T) map[string]int64 {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	all := gauges(maps.Clone(m.sums))
	if m.reporter != nil {
		if err := m.reporter.Report(all); err != nil {
			t.Errorf("Report: %v", err)
		}
	}
	return all
}

// Tests what the metrics of a channel say while it starts, while the watch is up,
// through an outage, and after it was closed.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, cfg := newInMemoryAPI()
		answer := make(chan struct{})
		api.refuseIf(func(*http.Request) *apierrors.StatusError { <-answer; return nil })
		m := &meter{sums: make(map[string]int64)}
		const name = "k8s:///echo-server.shop:grpc"
		want := func(when string, lines map[string]int64) {
			t.Helper()
			synctest.Wait()
			all := make(map[string]int64)
			for line, n := range lines {
				metric, state, _ := strings.Cut(line, " ")
				all[strings.TrimSpace(fmt.Sprintf("%s %s %s", metric, name, state))] = n
			}
			if diff := cmp.Diff(all, m.read(t)); diff != "" {
				t.Errorf("metrics %s (-want +got):\n%s", when, diff)
			}
		}
		builder := k8sresolver.NewBuilder(newClient(t, cfg), k8sresolver.WithZone("z1"), quiet())
		r, err := builder.Build(target(name), &recorder{told: make(chan told, 100)}, resolver.BuildOptions{MetricsRecorder: m})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(3 * time.Second)
		want("before the first answer", map[string]int64{"watch.up": 0, "watch.staleness": 3})

		close(answer)
		<-time.After(time.Second)
		api.set(
			newSlice("a", zone(pod("p1", "10.0.0.1", ready), "z1"), zone(pod("p2", "10.0.0.2", ready), "z2"), pod("p3", "10.0.0.3", draining), pod("p4", "10.0.0.4", notReady)),
			withPorts(newSlice("b", pod("p5", "10.0.0.5", ready))),
		)
		up := map[string]int64{
			"watch.up": 1, "watch.staleness": 0, "events": 2, "updates": 1,
			"endpoints ready": 2, "endpoints draining": 1, "endpoints unready": 1, "endpoints skipped": 1, "endpoints used": 1,
		}
		<-time.After(time.Second)
		want("while the watch is up", up)

		api.refuseWith(apierrors.NewServiceUnavailable("down"))
		api.cut(true)
		<-time.After(100 * time.Second)
		up["watch.up"], up["watch.staleness"] = 0, 100
		want("in an outage", up)

		api.refuseWith(nil)
		<-time.After(time.Minute)
		up["watch.up"], up["watch.staleness"] = 1, 0
		want("after the outage", up)

		r.Close()
		want("after Close", map[string]int64{"events": 2, "updates": 1})
	})
}

// Tests that importing the package makes no metric a default one of gRPC's telemetry.
func TestMetrics_OffByDefault(t *testing.T) {
	for name := range estats.DefaultMetrics.Metrics() {
		if strings.HasPrefix(name, "k8sresolver.") {
			t.Errorf("%s is on by default", name)
		}
	}
	for _, name := range []string{"watch.up", "watch.staleness", "endpoints", "events", "updates"} {
		if estats.DescriptorForMetric("k8sresolver."+name) == nil {
			t.Errorf("gRPC does not know k8sresolver.%s", name)
		}
	}
}

// Tests the metrics through gRPC's telemetry for OpenTelemetry, which is told their
// names.
func TestMetrics_OpenTelemetry(t *testing.T) {
	api := newAPIServer()
	api.set(startPod(t, "p1"))
	reader := metric.NewManualReader()
	conn := dial(t, api.start(t), opentelemetry.DialOption(opentelemetry.Options{MetricsOptions: opentelemetry.MetricsOptions{
		MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
		Metrics:       stats.NewMetricSet("k8sresolver.watch.up", "k8sresolver.endpoints", "k8sresolver.updates"),
	}}))
	if _, err := call(t, conn); err != nil {
		t.Fatal(err)
	}
	var collected metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &collected); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for _, scope := range collected.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				got[m.Name] = len(data.DataPoints)
			case metricdata.Sum[int64]:
				got[m.Name] = len(data.DataPoints)
			}
		}
	}
	want := map[string]int{"k8sresolver.watch.up": 1, "k8sresolver.endpoints": 5, "k8sresolver.updates": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series by metric (-want +got):\n%s", diff)
	}
}
