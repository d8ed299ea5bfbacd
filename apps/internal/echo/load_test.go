package echo_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	orcapb "github.com/cncf/xds/go/xds/data/orca/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// reportKey is where ORCA puts a report beside an answer, by gRFC A51.
const reportKey = "endpoint-load-metrics-bin"

// With --orca-per-call each answer, failures included, reports calls and errors per
// second and how many calls are in progress, over the last seconds.
func TestLoadReport(t *testing.T) {
	for _, tc := range []struct {
		name                  string
		faults                echo.Faults
		pause                 time.Duration // between calls
		hanging               int           // calls that are never answered, beside the others
		qps, eps, utilization float64
	}{
		{name: "always_one_call", faults: echo.Faults{Delay: 100 * time.Millisecond}, qps: 10, utilization: 1},
		{name: "half_of_the_time", faults: echo.Faults{Delay: 100 * time.Millisecond}, pause: 100 * time.Millisecond, qps: 5, utilization: 0.5},
		{name: "fast", faults: echo.Faults{Delay: time.Millisecond}, pause: 99 * time.Millisecond, qps: 10, utilization: 0.01},
		{name: "errors", faults: echo.Faults{Delay: 100 * time.Millisecond, ErrorRate: 1}, qps: 10, eps: 10, utilization: 1},
		{name: "hanging_beside", faults: echo.Faults{Delay: 100 * time.Millisecond}, hanging: 3, qps: 10, utilization: 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := limits
				cfg.ORCAPerCall, cfg.Faults = true, echo.Faults{HangRate: 1}
				h := serve(t, cfg)
				client := echopb.NewEchoServiceClient(h.dial())
				hangs, stop := context.WithCancel(t.Context())
				defer stop()
				for range tc.hanging {
					go func() { _, _ = client.Echo(hangs, &echopb.EchoRequest{}) }() // it is meant to fail
				}
				synctest.Wait()
				h.setFaults(tc.faults)
				var report orcapb.OrcaLoadReport
				for begin := time.Now(); time.Since(begin) < time.Minute; pass(tc.pause) {
					var trailer metadata.MD
					_, err := client.Echo(t.Context(), &echopb.EchoRequest{}, grpc.Trailer(&trailer))
					if (err != nil) != (tc.faults.ErrorRate > 0) {
						t.Fatal(err)
					}
					if got := len(trailer.Get(reportKey)); got != 1 {
						t.Fatalf("%d reports in trailer %v, want 1", got, trailer)
					}
					if err := proto.Unmarshal([]byte(trailer.Get(reportKey)[0]), &report); err != nil {
						t.Fatal(err)
					}
				}
				for _, f := range []struct {
					what      string
					got, want float64
				}{
					{"queries per second", report.GetRpsFractional(), tc.qps},
					{"errors per second", report.GetEps(), tc.eps},
					{"utilization", report.GetApplicationUtilization(), tc.utilization},
				} {
					// The report comes at the end of a call, when one more than
					// usual is counted.
					if math.Abs(f.got-f.want) > 0.05*f.want {
						t.Errorf("%s %v, want about %v", f.what, f.got, f.want)
					}
				}
			})
		})
	}
}

// Without --orca-per-call no answer has a report.
func TestNoLoadReport(t *testing.T) {
	h := serve(t, limits)
	var trailer metadata.MD
	if _, err := echopb.NewEchoServiceClient(h.dial()).Echo(t.Context(), &echopb.EchoRequest{}, grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	if got := trailer.Get(reportKey); len(got) > 0 {
		t.Errorf("report %q, want none", got)
	}
}
