package metrics

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats/opentelemetry"
)

const (
	// Path is where the metrics are.
	Path = "/metrics"

	requestTimeout = 10 * time.Second
)

// balancing are metrics of balancers that gRPC has off by default, because they
// are experimental.
var balancing = []string{
	"grpc.lb.wrr.rr_fallback",
	"grpc.lb.wrr.endpoint_weight_not_yet_usable",
	"grpc.lb.wrr.endpoint_weight_stale",
	"grpc.lb.wrr.endpoint_weights",
}

// Check tells whether addr, "host:port", can serve as a metrics address. An empty
// host is every interface: a Prometheus scrapes from outside of the pod, and the
// metrics tell names of methods and targets, and counts, but no content. Port 0
// picks a free one.
func Check(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("metrics address %q: expected host:port, such as :9464", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("metrics address %q: expected a port from 0 to 65535, got %q", addr, port)
	}
	return nil
}

// Metrics measures and is scraped. Its creator must Close it.
type Metrics struct {
	provider *metric.MeterProvider
	http     *http.Server
	lis      net.Listener
	served   chan struct{} // closed when the serving goroutine has ended
}

// Start listens on addr, which must satisfy Check, and serves Path there.
func Start(addr string) (*Metrics, error) {
	if err := Check(addr); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	// Scope and target info say again in every process what a scraper knows.
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry),
		otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo())
	if err != nil {
		return nil, fmt.Errorf("exporting metrics: %w", err)
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening on metrics address %q: %w", addr, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	m := &Metrics{
		provider: metric.NewMeterProvider(metric.WithReader(exporter)),
		http:     &http.Server{Handler: mux, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout},
		lis:      lis,
		served:   make(chan struct{}),
	}
	go func() {
		defer close(m.served)
		// Serve fails only when the listener breaks. The process lives on
		// without its metrics; a Prometheus sees the refusal.
		_ = m.http.Serve(lis)
	}()
	return m, nil
}

// Addr returns the address that is scraped.
func (m *Metrics) Addr() net.Addr { return m.lis.Addr() }

// ServerOption makes a server measure its calls.
func (m *Metrics) ServerOption() grpc.ServerOption {
	return opentelemetry.ServerOption(opentelemetry.Options{MetricsOptions: opentelemetry.MetricsOptions{MeterProvider: m.provider}})
}

// DialOption makes a channel measure its calls, and how it balances them.
func (m *Metrics) DialOption() grpc.DialOption {
	return opentelemetry.DialOption(opentelemetry.Options{MetricsOptions: opentelemetry.MetricsOptions{
		MeterProvider: m.provider,
		Metrics:       opentelemetry.DefaultMetrics().Add(balancing...),
	}})
}

// Close cuts every scrape and waits until the serving goroutine has ended.
func (m *Metrics) Close() {
	_ = m.http.Close() // of the listener, at worst already closed
	<-m.served
	_ = m.provider.Shutdown(context.Background()) // a pull exporter has nothing to flush
}
