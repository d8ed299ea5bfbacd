package loadgen

import (
	"context"
	"math"
	"time"

	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// The names under which gRPC's own test clients file their only unary method;
// tools that read the statistics look for them.
const (
	statsMethod     = "UnaryCall"
	statsMethodEnum = "UNARY_CALL"
)

// watcher counts the outcomes of the calls numbered first to last. The tally's
// mutex guards it.
type watcher struct {
	first, last int64
	remaining   int64
	answered    map[string]int32
	done        chan struct{} // closed when remaining is 0 or there are no more calls
	ended       bool
}

func (w *watcher) complete(id int64, a answer) {
	if id < w.first || id > w.last {
		return
	}
	w.remaining--
	if a.err == nil {
		w.answered[a.server]++
	}
	if w.remaining == 0 {
		w.end()
	}
}

func (w *watcher) end() {
	if !w.ended {
		w.ended = true
		close(w.done)
	}
}

// watch starts to count the next n calls. The function it returns ends that and
// returns the answers by server.
func (t *tally) watch(n int64) (done <-chan struct{}, end func() map[string]int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.total.issued + 1
	w := &watcher{first: first, last: first + n - 1, remaining: n, answered: map[string]int32{}, done: make(chan struct{})}
	t.watchers[w] = struct{}{}
	if t.over {
		w.end()
	}
	return w.done, func() map[string]int32 {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.watchers, w)
		return w.answered
	}
}

// Stats returns grpc.testing.LoadBalancerStatsService over the client's calls, a
// peer being the server that answered, named as in the log.
func (c *Client) Stats() testgrpc.LoadBalancerStatsServiceServer {
	return &statsService{tally: c.tally}
}

type statsService struct {
	testgrpc.UnimplementedLoadBalancerStatsServiceServer
	tally *tally
}

// GetClientStats waits for the next num_rpcs calls, at most timeout_sec, and
// says who answered them. Calls that failed or did not complete are failures, as
// in gRPC's own test clients. Without a timeout the request's deadline holds.
func (s *statsService) GetClientStats(ctx context.Context, req *testgrpc.LoadBalancerStatsRequest) (*testgrpc.LoadBalancerStatsResponse, error) {
	switch {
	case req.GetNumRpcs() <= 0:
		return nil, status.Errorf(codes.InvalidArgument, "num_rpcs is %d, expected the positive number of calls to wait for", req.GetNumRpcs())
	case req.GetTimeoutSec() < 0:
		return nil, status.Errorf(codes.InvalidArgument, "timeout_sec is %d, expected 0 or more", req.GetTimeoutSec())
	case len(req.GetMetadataKeys()) > 0:
		return nil, status.Error(codes.Unimplemented, "metadata_keys is not supported, leave it empty")
	}
	if req.GetTimeoutSec() > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(req.GetTimeoutSec())*time.Second)
		defer cancel()
	}
	done, end := s.tally.watch(int64(req.GetNumRpcs()))
	select {
	case <-done:
	case <-ctx.Done():
	}
	answered := end()
	failures := req.GetNumRpcs()
	for _, n := range answered {
		failures -= n
	}
	return &testgrpc.LoadBalancerStatsResponse{
		RpcsByPeer:  answered,
		NumFailures: failures,
		RpcsByMethod: map[string]*testgrpc.LoadBalancerStatsResponse_RpcsByPeer{
			statsMethod: {RpcsByPeer: answered},
		},
	}, nil
}

// GetClientAccumulatedStats returns the outcomes of all calls since the start.
func (s *statsService) GetClientAccumulatedStats(context.Context, *testgrpc.LoadBalancerAccumulatedStatsRequest) (*testgrpc.LoadBalancerAccumulatedStatsResponse, error) {
	issued, results := s.tally.results()
	stats := &testgrpc.LoadBalancerAccumulatedStatsResponse_MethodStats{
		RpcsStarted: clamp(issued), Result: map[int32]int32{},
	}
	for code, n := range results {
		stats.Result[int32(code)] = clamp(n)
	}
	return &testgrpc.LoadBalancerAccumulatedStatsResponse{
		StatsPerMethod: map[string]*testgrpc.LoadBalancerAccumulatedStatsResponse_MethodStats{statsMethodEnum: stats},
	}, nil
}

// clamp fits a count into the protocol's 32 bits.
func clamp(n int64) int32 { return int32(min(n, math.MaxInt32)) }
