package metrics_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Addresses for everybody are admitted, others name what was expected.
func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name    string
		addr    string
		wantErr string // "" is none
	}{
		{name: "every_interface", addr: ":9464"},
		{name: "loopback", addr: "127.0.0.1:0"},
		{name: "ipv6", addr: "[::]:9464"},
		{name: "name", addr: "localhost:9464"},
		{name: "no_port", addr: "127.0.0.1", wantErr: "expected host:port, such as :9464"},
		{name: "port_alone", addr: "9464", wantErr: "expected host:port"},
		{name: "port_too_large", addr: ":65536", wantErr: `expected a port from 0 to 65535, got "65536"`},
		{name: "named_port", addr: ":http", wantErr: `got "http"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			if err := metrics.Check(tc.addr); err != nil {
				got = err.Error()
			}
			if (got == "") != (tc.wantErr == "") || !strings.Contains(got, tc.wantErr) {
				t.Errorf("Check(%q) = %q, want an error that contains %q", tc.addr, got, tc.wantErr)
			}
			if m, err := metrics.Start(tc.addr); err == nil {
				m.Close()
				if tc.wantErr != "" {
					t.Errorf("Start(%q) succeeded, want an error", tc.addr)
				}
			}
		})
	}
}

// scrape returns the families as a Prometheus reads them.
func scrape(t *testing.T, m *metrics.Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get("http://" + m.Addr().String() + metrics.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", metrics.Path, resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// Calls are counted by method and code on both sides, in histograms whose
// buckets add up; nothing is there before them, and nobody listens after Close.
func TestScrape(t *testing.T) {
	m, err := metrics.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got := scrape(t, m); len(got) > 0 {
		t.Errorf("%d families before the first call, want none: %v", len(got), got)
	}

	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(m.ServerOption())
	healthpb.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	conn, err := grpc.NewClient("passthrough:///"+lis.Addr().String(), m.DialOption(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	const calls = 5
	for i := range calls {
		service := ""
		if i == 0 {
			service = "unknown"
		}
		if _, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{Service: service}); (err != nil) != (i == 0) {
			t.Fatal(err)
		}
	}
	conn.Close()
	server.GracefulStop()
	if err := <-served; err != nil {
		t.Error(err)
	}

	got := scrape(t, m)
	for _, name := range []string{"grpc_client_call_duration_seconds", "grpc_client_attempt_duration_seconds", "grpc_server_call_duration_seconds"} {
		byCode := map[string]uint64{}
		for _, metric := range got[name].GetMetric() {
			labels := map[string]string{}
			for _, l := range metric.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["grpc_method"] != "grpc.health.v1.Health/Check" {
				t.Errorf("%s has method %q, want the health check's", name, labels["grpc_method"])
			}
			byCode[labels["grpc_status"]] = metric.GetHistogram().GetSampleCount()
			buckets := metric.GetHistogram().GetBucket()
			if last := buckets[len(buckets)-1]; last.GetCumulativeCount() != metric.GetHistogram().GetSampleCount() {
				t.Errorf("%s: the last bucket holds %d calls of %d", name, last.GetCumulativeCount(), metric.GetHistogram().GetSampleCount())
			}
		}
		if byCode["OK"] != calls-1 || byCode["NOT_FOUND"] != 1 {
			t.Errorf("%s counts %v, want %d OK and 1 NOT_FOUND", name, byCode, calls-1)
		}
	}
	if _, there := got["target_info"]; there {
		t.Error("target_info is there, want what a scraper does not know")
	}

	again, err := metrics.Start(m.Addr().String())
	if err == nil {
		again.Close()
		t.Error("Start on a port that is taken succeeded, want an error")
	}
	m.Close()
	if resp, err := http.Get("http://" + m.Addr().String() + metrics.Path); err == nil {
		resp.Body.Close()
		t.Error("somebody listens after Close")
	}
}
