package echo_test

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// Calls take as long, fail as often and hang as often as they are told to;
// health checks are spared. Rates hold within five standard deviations.
func TestFaults(t *testing.T) {
	const calls, timeout = 400, 10 * time.Second
	for _, tc := range []struct {
		name           string
		faults         echo.Faults
		shortest, most time.Duration // of those that end by themselves
		code           codes.Code    // of those that the server fails
		failed, hung   float64       // part of the calls
	}{
		{name: "none"},
		{name: "delay", faults: echo.Faults{Delay: 50 * time.Millisecond}, shortest: 50 * time.Millisecond, most: 50 * time.Millisecond},
		{
			name: "delay_and_jitter", faults: echo.Faults{Delay: 50 * time.Millisecond, DelayJitter: 20 * time.Millisecond},
			shortest: 30 * time.Millisecond, most: 70 * time.Millisecond,
		},
		{name: "errors", faults: echo.Faults{ErrorRate: 1}, code: codes.Unavailable, failed: 1},
		{name: "errors_with_a_code", faults: echo.Faults{ErrorRate: 1, ErrorCode: codes.DataLoss}, code: codes.DataLoss, failed: 1},
		{
			name: "some_late_errors", faults: echo.Faults{Delay: time.Second, ErrorRate: 0.25, ErrorCode: codes.Aborted},
			shortest: time.Second, most: time.Second, code: codes.Aborted, failed: 0.25,
		},
		{name: "hangs", faults: echo.Faults{HangRate: 1}, hung: 1},
		{name: "everything", faults: echo.Faults{Delay: time.Second, ErrorRate: 0.25, HangRate: 0.25}, shortest: time.Second, most: time.Second, code: codes.Unavailable, failed: 0.25, hung: 0.25},
		{name: "no_answer_at_all", faults: echo.Faults{ErrorRate: 0.5, HangRate: 0.5}, code: codes.Unavailable, failed: 0.5, hung: 0.5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := limits
				cfg.Faults = tc.faults
				h := serve(t, cfg)
				conn := h.dial()
				h.health(conn) // fails the test if it fails
				client := echopb.NewEchoServiceClient(conn)
				var mu sync.Mutex
				var failed, hung float64
				shortest, longest := time.Hour, time.Duration(0)
				var all sync.WaitGroup
				for range calls {
					all.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), timeout)
						defer cancel()
						begin := time.Now()
						_, err := client.Echo(ctx, &echopb.EchoRequest{})
						took := time.Since(begin)
						mu.Lock()
						defer mu.Unlock()
						switch status.Code(err) {
						case codes.DeadlineExceeded:
							hung++
							return
						case codes.OK:
						default:
							failed++
							if status.Code(err) != tc.code {
								t.Errorf("call ended with %v, want code %v", err, tc.code)
							}
						}
						shortest, longest = min(shortest, took), max(longest, took)
					})
				}
				all.Wait()
				for _, rate := range []struct {
					what      string
					got, want float64
				}{{"failed", failed / calls, tc.failed}, {"hung", hung / calls, tc.hung}} {
					if sigma := math.Sqrt(rate.want * (1 - rate.want) / calls); math.Abs(rate.got-rate.want) > 5*sigma {
						t.Errorf("%v of the calls %s, want %v", rate.got, rate.what, rate.want)
					}
				}
				if hung < calls && (shortest < tc.shortest || longest > tc.most) {
					t.Errorf("calls took %v to %v, want %v to %v", shortest, longest, tc.shortest, tc.most)
				}
				if spread := tc.most - tc.shortest; hung < calls && longest-shortest < spread*9/10 {
					t.Errorf("calls took %v to %v, want nearly all of %v to %v", shortest, longest, tc.shortest, tc.most)
				}
			})
		})
	}
}

// A change holds for the calls that come after it; one under way keeps what it
// was dealt. The answer says what the faults were.
func TestSetFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, limits)
		client := echopb.NewEchoServiceClient(h.dial())
		control := h.server.Control()
		took := func() time.Duration {
			begin := time.Now()
			if _, err := client.Echo(t.Context(), &echopb.EchoRequest{}); err != nil {
				t.Error(err)
			}
			return time.Since(begin)
		}
		set := func(faults, before *echopb.Faults) {
			t.Helper()
			resp, err := control.SetFaults(t.Context(), &echopb.SetFaultsRequest{Faults: faults})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, resp.GetFaults(), protocmp.Transform()); diff != "" {
				t.Errorf("faults before (-want +got):\n%s", diff)
			}
		}
		slow := &echopb.Faults{Delay: durationpb.New(time.Minute)}
		full := &echopb.Faults{Delay: durationpb.New(2 * time.Second), DelayJitter: durationpb.New(time.Second), ErrorRate: 0.5, ErrorCode: "ABORTED", HangRate: 0.5}

		set(slow, &echopb.Faults{})
		early := make(chan time.Duration, 1)
		go func() { early <- took() }()
		pass(time.Second)
		set(full, slow)
		set(&echopb.Faults{}, full)
		if got := took(); got != 0 {
			t.Errorf("a call after the faults took %v, want none", got)
		}
		if got := <-early; got != time.Minute {
			t.Errorf("the call that came before the change took %v, want %v", got, time.Minute)
		}
	})
}

// Faults that last for a while are over then, unless a request has come since: whoever asks
// for them again and again may die without leaving any.
func TestSetFaultsLasting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, limits)
		client, control := echopb.NewEchoServiceClient(h.dial()), h.server.Control()
		set := func(lasting time.Duration) {
			t.Helper()
			req := &echopb.SetFaultsRequest{Faults: &echopb.Faults{Delay: durationpb.New(time.Second)}}
			if lasting > 0 {
				req.Lasting = durationpb.New(lasting)
			}
			if _, err := control.SetFaults(t.Context(), req); err != nil {
				t.Fatal(err)
			}
		}
		wantDelay := func(want time.Duration) {
			t.Helper()
			begin := time.Now()
			if _, err := client.Echo(t.Context(), &echopb.EchoRequest{}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took != want {
				t.Errorf("a call took %v, want %v", took, want)
			}
		}
		set(10 * time.Second)
		pass(8 * time.Second)
		set(10 * time.Second) // after which the first is not heeded
		pass(8 * time.Second)
		wantDelay(time.Second)
		pass(2 * time.Second)
		wantDelay(0)
		set(10 * time.Second)
		set(0)
		pass(time.Minute)
		wantDelay(time.Second)
		for _, wrong := range []*durationpb.Duration{durationpb.New(0), durationpb.New(-1), {Seconds: 1, Nanos: -1}} {
			if _, err := control.SetFaults(t.Context(), &echopb.SetFaultsRequest{Lasting: wrong}); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "lasting") {
				t.Errorf("lasting %v: %v, want that it is refused", wrong, err)
			}
		}
	})
}

// What cannot be is refused by the name of its field, and changes nothing.
func TestSetFaultsRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, limits)
		control := h.server.Control()
		for _, tc := range []struct {
			name   string
			faults *echopb.Faults
			want   string // part of the message
		}{
			{"delay", &echopb.Faults{Delay: durationpb.New(-1)}, "delay -1ns: expected 0s or more"},
			{"delay_invalid", &echopb.Faults{Delay: &durationpb.Duration{Seconds: 1, Nanos: -1}}, "delay: "},
			{"jitter_negative", &echopb.Faults{DelayJitter: durationpb.New(-1)}, "delay_jitter -1ns"},
			{"jitter_beyond_delay", &echopb.Faults{Delay: durationpb.New(1), DelayJitter: durationpb.New(2)}, "delay_jitter 2ns: expected 0s to the delay"},
			{"error_rate", &echopb.Faults{ErrorRate: 1.01}, "error_rate 1.01: expected 0 to 1"},
			{"error_rate_nan", &echopb.Faults{ErrorRate: math.NaN()}, "error_rate NaN"},
			{"hang_rate", &echopb.Faults{HangRate: -0.1}, "hang_rate -0.1: expected 0 to 1"},
			{"rates_together", &echopb.Faults{ErrorRate: 0.6, HangRate: 0.6}, "hang_rate 0.6: expected no more than 1 together with error_rate"},
			{"code", &echopb.Faults{ErrorCode: "Unavailable"}, `error_code "Unavailable": expected the name of a gRPC code`},
			{"code_ok", &echopb.Faults{ErrorCode: "OK"}, `error_code "OK"`},
			{"all", &echopb.Faults{ErrorCode: "OK", ErrorRate: 2, HangRate: 2}, "; "},
		} {
			_, err := control.SetFaults(t.Context(), &echopb.SetFaultsRequest{Faults: tc.faults})
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(status.Convert(err).Message(), tc.want) {
				t.Errorf("%s: SetFaults() = %v, want %v with %q", tc.name, err, codes.InvalidArgument, tc.want)
			}
		}
		resp, err := control.SetFaults(t.Context(), &echopb.SetFaultsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&echopb.Faults{}, resp.GetFaults(), protocmp.Transform()); diff != "" {
			t.Errorf("faults after the refusals (-want +got):\n%s", diff)
		}
	})
}

// Calls that hang do not keep a server from ending in its time, and health says
// that it ends.
func TestHangingCallsAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := limits
		cfg.Faults.HangRate = 1
		h := serve(t, cfg)
		conn := h.dial()
		ended := make(chan error, 1)
		go func() {
			_, err := echopb.NewEchoServiceClient(conn).Echo(t.Context(), &echopb.EchoRequest{})
			ended <- err
		}()
		synctest.Wait()
		h.term()
		synctest.Wait()
		if got := h.health(conn)[0]; got != healthpb.HealthCheckResponse_NOT_SERVING {
			t.Errorf("health %v, want NOT_SERVING", got)
		}
		if err := <-ended; status.Code(err) != codes.Unavailable {
			t.Errorf("the call ended with %v, want %v", err, codes.Unavailable)
		}
		<-h.ended
		if want := limits.DrainDelay + limits.DrainTimeout; h.err != nil || h.took != want {
			t.Errorf("stopped after %v, error %v; want %v, none", h.took, h.err, want)
		}
	})
}
