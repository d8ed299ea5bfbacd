package loadgen_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
)

// running starts the configuration's calls in the background and waits until
// they flow; the function it returns stops them.
func running(t *testing.T, cfg loadgen.Config) (testgrpc.LoadBalancerStatsServiceServer, func()) {
	t.Helper()
	client, err := loadgen.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := client.Run(ctx, new(recorder)); err != nil {
			t.Error(err)
		}
	})
	time.Sleep(1500 * time.Millisecond)
	return client.Stats(), func() { cancel(); done.Wait() }
}

// The statistics count exactly the next calls, by server, failures apart, for
// several callers at the same time.
func TestClientStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := named("bad")
		bad.err = status.Error(codes.Aborted, "refused by the test")
		cfg := cluster(t, true, named("a"), named("b"), bad)
		cfg.Rate = 100
		stats, stop := running(t, cfg)
		defer stop()

		var both sync.WaitGroup
		for _, n := range []int32{30, 300} {
			both.Go(func() {
				start := time.Now()
				got, err := stats.GetClientStats(t.Context(), &testgrpc.LoadBalancerStatsRequest{NumRpcs: n, TimeoutSec: 60})
				if err != nil {
					t.Error(err)
					return
				}
				byPeer := map[string]int32{"a": n / 3, "b": n / 3}
				want := &testgrpc.LoadBalancerStatsResponse{
					RpcsByPeer: byPeer, NumFailures: n / 3,
					RpcsByMethod: map[string]*testgrpc.LoadBalancerStatsResponse_RpcsByPeer{"UnaryCall": {RpcsByPeer: byPeer}},
				}
				if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
					t.Errorf("statistics of %d calls (-want +got):\n%s", n, diff)
				}
				if took, want := time.Since(start), time.Duration(n)*10*time.Millisecond; took > want {
					t.Errorf("%d calls took %v, want %v", n, took, want)
				}
			})
		}
		both.Wait()
	})
}

// When the time is over before the calls are, what is known is told, and the
// rest are failures; the same when the client ends.
func TestClientStatsEndEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := cluster(t, true, named("a"))
		cfg.Rate = 10
		stats, stop := running(t, cfg)
		start := time.Now()
		got, err := stats.GetClientStats(t.Context(), &testgrpc.LoadBalancerStatsRequest{NumRpcs: 100, TimeoutSec: 3})
		if err != nil {
			t.Fatal(err)
		}
		if n := got.GetRpcsByPeer()["a"]; time.Since(start) != 3*time.Second || n < 29 || n > 30 || got.GetNumFailures() != 100-n {
			t.Errorf("after %v: %v, want 30 calls of a in 3 s and the rest as failures", time.Since(start), got)
		}

		waiting := make(chan *testgrpc.LoadBalancerStatsResponse, 1)
		ask := func() {
			resp, err := stats.GetClientStats(t.Context(), &testgrpc.LoadBalancerStatsRequest{NumRpcs: 100, TimeoutSec: 3600})
			if err != nil {
				t.Error(err)
			}
			waiting <- resp
		}
		go ask()
		synctest.Wait()
		stop()
		for _, moment := range []string{"while waiting", "after the end"} {
			if got := <-waiting; got.GetNumFailures() != 100 {
				t.Errorf("%s: %v, want 100 failures", moment, got)
			}
			go ask()
		}
		<-waiting
		if time.Since(start) > 5*time.Second {
			t.Errorf("answered after %v, want at once when there are no more calls", time.Since(start))
		}
	})
}

// The accumulated statistics are those of the whole run, by status code.
func TestClientAccumulatedStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := named("bad")
		bad.err = status.Error(codes.Aborted, "refused by the test")
		cfg := cluster(t, true, named("a"), bad)
		cfg.Rate, cfg.Count = 100, 40
		stats, stop := running(t, cfg)
		defer stop()
		got, err := stats.GetClientAccumulatedStats(t.Context(), &testgrpc.LoadBalancerAccumulatedStatsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		method := got.GetStatsPerMethod()["UNARY_CALL"]
		ok, aborted := method.GetResult()[int32(codes.OK)], method.GetResult()[int32(codes.Aborted)]
		if method.GetRpcsStarted() != 40 || ok+aborted != 40 || ok < 19 || aborted < 19 {
			t.Errorf("statistics %v, want 40 calls, half of them Aborted", got)
		}
	})
}

// What cannot be answered is an error, not an empty answer.
func TestClientStatsRejects(t *testing.T) {
	client, err := loadgen.New(loadgen.Config{Target: "passthrough:///nobody:1", Rate: 1, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		req  *testgrpc.LoadBalancerStatsRequest
		want codes.Code
	}{
		{"no_calls", &testgrpc.LoadBalancerStatsRequest{TimeoutSec: 1}, codes.InvalidArgument},
		{"negative_calls", &testgrpc.LoadBalancerStatsRequest{NumRpcs: -1, TimeoutSec: 1}, codes.InvalidArgument},
		{"negative_timeout", &testgrpc.LoadBalancerStatsRequest{NumRpcs: 1, TimeoutSec: -1}, codes.InvalidArgument},
		{"metadata", &testgrpc.LoadBalancerStatsRequest{NumRpcs: 1, TimeoutSec: 1, MetadataKeys: []string{"*"}}, codes.Unimplemented},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := client.Stats().GetClientStats(t.Context(), tt.req); status.Code(err) != tt.want {
				t.Errorf("GetClientStats(%v) = %v, want %v", tt.req, err, tt.want)
			}
		})
	}
}
