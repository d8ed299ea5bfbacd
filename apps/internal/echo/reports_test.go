package echo_test

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	orcapb "github.com/cncf/xds/go/xds/service/orca/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
	"github.com/grpc-lb/grpc-lb/apps/internal/policy"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// Who subscribes gets a report at once and then at the interval it asked for, which has
// a lower bound; the reports say what the answers of a server with --orca-per-call say.
func TestReportsOutOfBand(t *testing.T) {
	for _, tc := range []struct {
		name     string
		interval *durationpb.Duration
		want     time.Duration
	}{
		{"second", durationpb.New(time.Second), time.Second},
		{"minute", durationpb.New(time.Minute), time.Minute},
		{"unset", nil, 100 * time.Millisecond},
		{"negative", durationpb.New(-time.Second), 100 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := limits
				cfg.Faults = echo.Faults{Delay: 100 * time.Millisecond}
				h := serve(t, cfg)
				conn := h.dial()
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				stream, err := orcapb.NewOpenRcaServiceClient(conn).StreamCoreMetrics(ctx, &orcapb.OrcaLoadReportRequest{ReportInterval: tc.interval})
				if err != nil {
					t.Fatal(err)
				}
				calls := make(chan error, 1)
				go func() {
					for ctx.Err() == nil {
						if _, err := h.call(conn); err != nil {
							calls <- err
							return
						}
					}
					calls <- nil
				}()
				begin := time.Now()
				var qps, utilization float64
				for i := 0; time.Since(begin) < 2*time.Minute; i++ {
					report, err := stream.Recv()
					if err != nil {
						t.Fatal(err)
					}
					if got, want := time.Since(begin), time.Duration(i)*tc.want; got != want {
						t.Fatalf("report %d after %v, want it after %v", i, got, want)
					}
					qps, utilization = report.GetRpsFractional(), report.GetApplicationUtilization()
				}
				if qps < 9.5 || qps > 10.5 || utilization < 0.95 || utilization > 1.05 {
					t.Errorf("last report: %v calls/s, utilization %v, want about 10 and 1", qps, utilization)
				}
				stop()
				if err := <-calls; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A subscriber that never leaves does not hold up the server's end, and hears why its
// stream ends.
func TestReportsEndWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := limits
		cfg.DrainDelay, cfg.DrainTimeout = time.Second, time.Minute
		h := serve(t, cfg)
		stream, err := orcapb.NewOpenRcaServiceClient(h.dial()).StreamCoreMetrics(t.Context(), &orcapb.OrcaLoadReportRequest{ReportInterval: durationpb.New(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		h.term()
		if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("the stream ended with %v, want Unavailable", err)
		}
		msgs, _ := h.logged()
		if h.took > 2*time.Second || slices.Contains(msgs, "cutting the calls still under way") {
			t.Errorf("stopped after %v with log %q, want the end of the delay of 1 s, and nothing to cut", h.took, msgs)
		}
	})
}

// weighted_round_robin, as --lb-policy selects it, learns of a slow server out of band.
// gRPC's default configuration learns of it from answers alone, if these report.
func TestWeightedRoundRobin(t *testing.T) {
	const name = "weighted_round_robin"
	for _, tc := range []struct {
		name     string
		config   string
		perCall  bool
		weighted bool
	}{
		{"out_of_band", policy.ServiceConfig(name, ""), false, true},
		{"per_call", policy.ServiceConfig(name, "{}"), true, true},
		{"per_call_without_reports", policy.ServiceConfig(name, "{}"), false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listeners := map[string]*bufconn.Listener{}
				var state resolver.State
				for pod, delay := range map[string]time.Duration{"fast": 10 * time.Millisecond, "slow": 200 * time.Millisecond} {
					lis := bufconn.Listen(1 << 16)
					server := echo.New(echo.Config{KeepaliveMinTime: time.Second, ORCAPerCall: tc.perCall, Faults: echo.Faults{Delay: delay}},
						echo.Identity{Pod: pod}, slog.New(slog.DiscardHandler))
					ctx, stop := context.WithCancel(t.Context())
					ended := make(chan struct{})
					go func() {
						defer close(ended)
						_ = server.Serve(ctx, lis, nil) // the context's cause
					}()
					t.Cleanup(func() { stop(); <-ended })
					listeners[pod] = lis
					state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: pod}}})
				}
				names := manual.NewBuilderWithScheme("test")
				names.InitialState(state)
				conn, err := grpc.NewClient("test:///servers", grpc.WithResolvers(names), grpc.WithDefaultServiceConfig(tc.config),
					grpc.WithTransportCredentials(insecure.NewCredentials()),
					grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return listeners[addr].DialContext(ctx) }))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				calls := map[string]int{}
				for begin := time.Now(); time.Since(begin) < 30*time.Second; {
					reply, err := echopb.NewEchoServiceClient(conn).Echo(t.Context(), &echopb.EchoRequest{}, grpc.WaitForReady(true))
					if err != nil {
						t.Fatal(err)
					}
					if time.Since(begin) > 15*time.Second { // weights count after 10 s
						calls[reply.GetPod()]++
					}
				}
				share := float64(calls["slow"]) / float64(calls["slow"]+calls["fast"])
				if tc.weighted && share > 0.1 || !tc.weighted && share < 0.45 {
					t.Errorf("the slow server got %.3f of the calls, want a twentieth if it is weighted (%t), else half", share, tc.weighted)
				}
			})
		})
	}
}
