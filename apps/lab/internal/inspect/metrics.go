package inspect

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// callCounters are the metrics that count the calls of a server, the first that it has.
// Sources: gRFC A66 (grpc.server.call.started); go-grpc-middleware and grpc-java's
// grpc_server_started_total; OpenTelemetry's semantic conventions (rpc.server.*).
var callCounters = []string{
	"grpc_server_call_started_total", "grpc_server_started_total", "grpc_server_handled_total",
	"rpc_server_call_duration_seconds", "rpc_server_duration_milliseconds", "rpc_server_duration_seconds", "rpc_server_duration",
}

// callsCounted returns how many calls a server counts in its metrics, in Prometheus' text
// format. Health checks and reflection do not count.
func callsCounted(text io.Reader) (int64, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return 0, fmt.Errorf("reading its metrics: %w", err)
	}
	for _, name := range callCounters {
		family := families[name]
		if family == nil {
			continue
		}
		var calls float64
		for _, m := range family.GetMetric() {
			if !slices.ContainsFunc(m.GetLabel(), isOverhead) {
				calls += m.GetCounter().GetValue() + m.GetUntyped().GetValue() + float64(m.GetHistogram().GetSampleCount()+m.GetSummary().GetSampleCount())
			}
		}
		return int64(calls), nil
	}
	return 0, fmt.Errorf("its metrics count no calls: none of %s is there", strings.Join(callCounters, ", "))
}

func isOverhead(label *dto.LabelPair) bool {
	return strings.HasPrefix(label.GetValue(), "grpc.health.") || strings.HasPrefix(label.GetValue(), "grpc.reflection.")
}

// metricsOf returns where the pods of a workload serve metrics: by the annotations that
// Prometheus' own examples use, or by the name of a port.
func metricsOf(w manifest.Workload) (port int, path string) {
	path = "/metrics"
	if p := w.Template.Annotations["prometheus.io/path"]; p != "" {
		path = p
	}
	if n, err := strconv.Atoi(w.Template.Annotations["prometheus.io/port"]); err == nil {
		return n, path
	}
	for _, c := range w.Containers() {
		for _, p := range c.Ports {
			if slices.Contains([]string{"metrics", "http-metrics", "prometheus", "prom", "telemetry"}, p.Name) {
				return int(p.ContainerPort), path
			}
		}
	}
	return 0, ""
}

// metricsSources are the servers of a Service that serve metrics.
func (s *Snapshot) metricsSources(service *Service) []source {
	var all []source
	for _, w := range service.servers {
		port, path := metricsOf(w)
		if port == 0 {
			continue
		}
		for _, pod := range s.podsOf(w) {
			all = append(all, source{what: "metrics of servers", namespace: w.GetNamespace(), pods: []string{pod}, port: port,
				read: func(ctx context.Context, address string) (distribution.Counts, error) {
					raw, err := get(ctx, "http://"+address+path)
					if err != nil {
						return nil, err
					}
					calls, err := callsCounted(strings.NewReader(string(raw)))
					return distribution.Counts{pod: calls}, err
				}})
		}
	}
	return all
}

// get reads a page of at most 16 MiB.
func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, 16<<20))
}
