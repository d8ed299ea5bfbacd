package inspect_test

import (
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/balance"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/inspect"
)

// Calls are counted in the metrics of each library, without health checks.
func TestMetrics(t *testing.T) {
	for name, text := range map[string]string{
		"grpc-go's OpenTelemetry": `# TYPE grpc_server_call_started_total counter
grpc_server_call_started_total{grpc_method="shop.Cart/Add"} 40
grpc_server_call_started_total{grpc_method="shop.Cart/Get"} 2
grpc_server_call_started_total{grpc_method="grpc.health.v1.Health/Check"} 900
`,
		"go-grpc-middleware": `# TYPE grpc_server_started_total counter
grpc_server_started_total{grpc_method="Add",grpc_service="shop.Cart",grpc_type="unary"} 42
grpc_server_started_total{grpc_method="Check",grpc_service="grpc.health.v1.Health",grpc_type="unary"} 7
# TYPE grpc_server_handled_total counter
grpc_server_handled_total{grpc_code="OK",grpc_method="Add",grpc_service="shop.Cart"} 41
`,
		"OpenTelemetry's conventions": `# TYPE rpc_server_call_duration_seconds histogram
rpc_server_call_duration_seconds_bucket{rpc_method="shop.Cart/Add",le="+Inf"} 42
rpc_server_call_duration_seconds_sum{rpc_method="shop.Cart/Add"} 1.5
rpc_server_call_duration_seconds_count{rpc_method="shop.Cart/Add"} 42
`,
		"without a type": "grpc_server_handled_total{grpc_service=\"shop.Cart\"} 42\n",
	} {
		if got, err := inspect.CallsCounted(strings.NewReader(text)); err != nil || got != 42 {
			t.Errorf("%s: %d calls, error %v; want 42", name, got, err)
		}
	}
	for name, text := range map[string]string{"no calls": "# TYPE up gauge\nup 1\n", "a page": "<html>\n", "cut off": "grpc_server_started_total{a=\"b"} {
		if got, err := inspect.CallsCounted(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %d calls, want an error", name, got)
		}
	}
}

// The sum of all clients decides only where no other spread of each client gives it.
func TestSumDecides(t *testing.T) {
	for _, test := range []struct {
		name     string
		clients  int
		servers  distribution.Counts
		verdict  balance.Verdict
		measured bool
	}{
		{"one of three is busy", 2, distribution.Counts{"a": 90, "b": 0, "c": 0}, balance.Pinned, true},
		{"one client, three busy", 1, distribution.Counts{"a": 30, "b": 30, "c": 30}, balance.Balanced, true},
		{"three clients, three busy", 3, distribution.Counts{"a": 30, "b": 30, "c": 30}, balance.Undecided, false},
		{"clients that are not known", 0, distribution.Counts{"a": 30, "b": 30, "c": 30}, balance.Undecided, false},
		{"one client, two of three busy", 1, distribution.Counts{"a": 30, "b": 30, "c": 0}, balance.Undecided, false},
		{"one client, unevenly", 1, distribution.Counts{"a": 88, "b": 1, "c": 1}, balance.Undecided, false},
		{"no call", 1, distribution.Counts{"a": 0, "b": 0}, balance.Undecided, false},
		{"the only server", 3, distribution.Counts{"a": 9}, balance.Undecided, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := inspect.BySum(test.clients, test.servers)
			if s.Verdict != test.verdict || s.Measured != test.measured {
				t.Errorf("%s, measured %t (%s); want %s, %t", s.Verdict, s.Measured, s.Traffic, test.verdict, test.measured)
			}
		})
	}
}
