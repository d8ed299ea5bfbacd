package endurance_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/apiserver"
)

// Tests rolling restarts under calls at a fixed rate, without retries and without
// wait-for-ready: no call fails. The EndpointSlice is written as for a Deployment with
// maxSurge 1 and maxUnavailable 0, after the pod was told to end and not before.
func TestRollout(t *testing.T) {
	rate, calls := pick(200., 2000.), pick(int64(400), 100_000)
	api := startScripted(t)
	pods := newPods(t, pick(100*time.Millisecond, 300*time.Millisecond))
	d := &rollout{pods: pods, api: api, running: pods.startMany(pick(3, 10))}
	api.Set(sliceOf(d.running...))
	made, err := loadgen.New(loadgen.Config{
		Target: echoTarget, Policy: "round_robin", Rate: rate, Count: calls, Timeout: patience,
		Resolvers:   []resolver.Builder{k8sresolver.NewBuilder(newClient(t, placeOf(api).config()), quiet())},
		DialOptions: []grpc.DialOption{grpc.WithNoProxy(), grpc.WithDisableRetry()},
	})
	must(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	var log lines
	go func() { done <- made.Run(ctx, &log) }()
	replaced := 0
	for over := false; !over; {
		select {
		case err := <-done:
			must(t, err)
			over = true
		default:
			d.replaceOldest()
			replaced++
		}
	}
	for _, f := range log.failures {
		t.Errorf("a call failed: %s: %s", f.Code, f.Error)
	}
	failed := int64(0)
	for _, n := range log.summary.Failures {
		failed += n
	}
	note(t, "rollout.calls", float64(log.summary.Calls), "calls")
	note(t, "rollout.pods", float64(replaced), "pods")
	atMost(t, "rollout.failed", float64(failed), "", 0)
	if log.summary.Calls != calls || replaced < 2 || len(log.summary.Servers) < len(d.running) {
		t.Errorf("%d calls to %d pods, %d of which were replaced, want %d calls", log.summary.Calls, len(log.summary.Servers), replaced, calls)
	}
}

// rollout stands in for the Deployment, the kubelet and the EndpointSlice controller.
type rollout struct {
	pods    *pods
	api     *apiserver.Server
	running []*pod // oldest first
}

func (d *rollout) replaceOldest() {
	fresh, old := d.pods.start(), d.running[0]
	d.running = append(d.running[1:], fresh)
	rest := func(others ...discoveryv1.Endpoint) {
		es := sliceOf(d.running[:len(d.running)-1]...)
		es.Endpoints = append(es.Endpoints, others...)
		d.api.Set(es)
	}
	rest(old.endpoint(ready), fresh.endpoint(starting))
	<-time.After(10 * time.Millisecond)
	rest(old.endpoint(ready), fresh.endpoint(ready))
	<-time.After(10 * time.Millisecond)
	old.terminate()
	<-time.After(10 * time.Millisecond)
	rest(fresh.endpoint(ready), old.endpoint(draining))
	<-old.ended
	rest(fresh.endpoint(ready))
}

// lines keeps what the caller tells.
type lines struct {
	failures []*calllog.Failure
	summary  *calllog.Summary
}

// Print implements loadgen.Printer.
func (l *lines) Print(line calllog.Line) error {
	switch line := line.(type) {
	case *calllog.Failure:
		l.failures = append(l.failures, line)
	case *calllog.Summary:
		l.summary = line
	}
	return nil
}
