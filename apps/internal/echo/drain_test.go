package echo_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
)

// limits are the flags' defaults; the bubble's clock makes them cost nothing.
var limits = echo.Config{DrainDelay: 5 * time.Second, DrainTimeout: 20 * time.Second}

const (
	servingStatus    = healthpb.HealthCheckResponse_SERVING
	notServingStatus = healthpb.HealthCheckResponse_NOT_SERVING
)

// On a signal health turns first, calls over old and new connections are
// answered until the delay is over, and then the server ends without an error
// and has counted every call.
func TestDrainOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, limits)
		conn := h.dial()
		if got, want := h.health(conn), [2]healthpb.HealthCheckResponse_ServingStatus{servingStatus, servingStatus}; got != want {
			t.Errorf("health before the signal: %v, want %v", got, want)
		}
		if _, err := h.call(conn); err != nil {
			t.Errorf("call before the signal: %v", err)
		}

		h.term()
		synctest.Wait()
		if got, want := h.health(conn), [2]healthpb.HealthCheckResponse_ServingStatus{notServingStatus, notServingStatus}; got != want {
			t.Errorf("health right after the signal: %v, want %v", got, want)
		}
		pass(limits.DrainDelay - time.Millisecond)
		if _, err := h.call(conn); err != nil {
			t.Errorf("call at the end of the delay: %v", err)
		}
		if _, err := h.call(h.dial()); err != nil {
			t.Errorf("call over a new connection at the end of the delay: %v", err)
		}

		msgs, last := h.logged()
		if diff := cmp.Diff([]string{"draining", "stopping", "stopped"}, msgs); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		if h.err != nil || h.took != limits.DrainDelay || last["calls"] != 3.0 {
			t.Errorf("stopped after %v with %v calls, error %v; want %v, 3, none", h.took, last["calls"], h.err, limits.DrainDelay)
		}
		if _, err := h.call(conn); status.Code(err) != codes.Unavailable && status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("call after the stop: %v, want a failure", err)
		}
	})
}

// However the server is made to end, it ends in time: after calls that end, at
// the limit for those that do not, at once on a second signal.
func TestDrainEnds(t *testing.T) {
	errCause := errors.New("the test's cause")
	for _, tc := range []struct {
		name    string
		stream  time.Duration // a client holds a stream open for so long; 0 is none
		silent  bool          // a peer connects and says nothing
		again   time.Duration // when a second signal comes after the first; 0 is never
		cancel  time.Duration // when the context ends after the first signal; 0 is never
		took    time.Duration // from the first signal on
		err     error
		logged  []string
		streamC codes.Code // how the stream ends
	}{
		{
			name: "no_calls", took: 5 * time.Second,
			logged: []string{"draining", "stopping", "stopped"},
		},
		{
			name: "stream_that_ends", stream: 8 * time.Second, took: 8 * time.Second,
			logged: []string{"draining", "stopping", "stopped"}, streamC: codes.Canceled,
		},
		{
			name: "stream_that_hangs", stream: time.Hour, took: 25 * time.Second,
			logged: []string{"draining", "stopping", "cutting the calls still under way", "stopped"}, streamC: codes.Unavailable,
		},
		{
			name: "second_signal_while_draining", stream: time.Hour, again: 2 * time.Second, took: 2 * time.Second,
			err: echo.ErrStoppedAtOnce, logged: []string{"draining", "stopping at once", "stopped"}, streamC: codes.Unavailable,
		},
		{
			name: "second_signal_while_stopping", stream: time.Hour, again: 9 * time.Second, took: 9 * time.Second,
			err: echo.ErrStoppedAtOnce, logged: []string{"draining", "stopping", "stopping at once", "stopped"}, streamC: codes.Unavailable,
		},
		{
			name: "context_ends_while_draining", stream: time.Hour, cancel: 3 * time.Second, took: 3 * time.Second,
			err: errCause, logged: []string{"draining", "stopped"}, streamC: codes.Unavailable,
		},
		{
			// grpc-go's Stop waits for handshakes; the server does not.
			name: "silent_peer_and_second_signal", silent: true, again: 2 * time.Second, took: 3 * time.Second,
			err: echo.ErrStoppedAtOnce, logged: []string{"draining", "stopping at once", "stopped"},
		},
		{
			name: "silent_peer", silent: true, took: 10 * time.Second,
			logged: []string{"draining", "stopping", "stopped"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := serve(t, limits)
				streamErr := make(chan error, 1)
				if tc.stream > 0 {
					// Without a deadline on the wire only the client ends it.
					ctx, cancel := context.WithCancel(t.Context())
					defer time.AfterFunc(tc.stream, cancel).Stop()
					watch, err := healthpb.NewHealthClient(h.dial()).Watch(ctx, &healthpb.HealthCheckRequest{})
					if err != nil {
						t.Fatal(err)
					}
					if _, err := watch.Recv(); err != nil {
						t.Fatal(err)
					}
					go func() {
						for err == nil {
							_, err = watch.Recv()
						}
						cancel()
						streamErr <- err
					}()
				}
				if tc.silent {
					peer, err := h.lis.Dial()
					if err != nil {
						t.Fatal(err)
					}
					defer peer.Close()
				}
				h.term()
				if tc.again > 0 {
					pass(tc.again)
					h.term()
				}
				if tc.cancel > 0 {
					pass(tc.cancel)
					h.cancel(errCause)
				}
				msgs, _ := h.logged()
				if diff := cmp.Diff(tc.logged, msgs); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}
				if h.took != tc.took || !errors.Is(h.err, tc.err) {
					t.Errorf("stopped after %v, error %v; want %v, %v", h.took, h.err, tc.took, tc.err)
				}
				if tc.stream > 0 {
					if err := <-streamErr; status.Code(err) != tc.streamC {
						t.Errorf("stream ended with %v, want %v", err, tc.streamC)
					}
				}
			})
		})
	}
}

// A listener that breaks ends the server with the reason.
func TestListenerBreaks(t *testing.T) {
	h := serve(t, limits)
	h.lis.Close()
	<-h.ended
	if h.err == nil || h.err.Error() != "serving: closed" {
		t.Errorf(`Serve returned %v, want "serving: closed"`, h.err)
	}
}
