package loadgen_test

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/grpc-lb/grpc-lb/apps/internal/admin"
	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// A running client is paused and set going again over its admin port. Windows
// go on without calls, still end between calls, and no call is lost or made up
// for.
func TestSetRateOfARunningClient(t *testing.T) {
	cfg := cluster(t, false, named("a"), named("b"))
	cfg.Rate = 200
	client, err := loadgen.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	server, err := admin.Start("127.0.0.1:0", func(s grpc.ServiceRegistrar) {
		echopb.RegisterClientControlServiceServer(s, client.Control(slog.New(slog.NewTextHandler(&log, nil))))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := grpc.NewClient(server.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	control := echopb.NewClientControlServiceClient(conn)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	limit := time.AfterFunc(time.Minute, cancel) // instead of hanging where a pause never shows
	defer limit.Stop()
	set := func(rate, before float64) {
		reply, err := control.SetRate(t.Context(), &echopb.SetRateRequest{CallsPerSecond: rate})
		if err != nil || reply.GetCallsPerSecond() != before {
			t.Errorf("SetRate(%v) = %v, %v, want the rate before, %v", rate, reply, err, before)
		}
	}
	paused, resumed := 0, 0 // numbers of windows, since a busy machine is late
	r := &recorder{seen: func(line calllog.Line) {
		w, ok := line.(*calllog.Window)
		switch {
		case !ok:
		case w.Seq == 3:
			set(0, 200)
		case w.Seq > 3 && paused == 0 && w.Issued == 0:
			paused = w.Seq
			set(100, 0)
		case paused > 0 && resumed == 0 && w.Issued > 0:
			resumed = w.Seq
		case resumed > 0 && w.Seq >= resumed+2:
			cancel()
		}
	}}
	if err := client.Run(ctx, r); err != nil {
		t.Fatal(err)
	}
	if paused == 0 || resumed == 0 {
		t.Fatalf("no call in window %d, calls again in window %d, want both", paused, resumed)
	}
	checkSums(t, r)
	windows := linesOf[*calllog.Window](r)
	for _, want := range []struct {
		windows []*calllog.Window
		rate    float64
	}{{windows[:3], 200}, {windows[resumed : resumed+2], 100}} {
		var issued int64
		for _, w := range want.windows {
			issued += w.Issued
		}
		// What a pause left undone would come at once.
		calls := want.rate * want.windows[len(want.windows)-1].End.Sub(want.windows[0].Start).Seconds()
		if math.Abs(float64(issued)-calls) > .5*calls {
			t.Errorf("windows %d to %d issued %d calls, want about %.0f", want.windows[0].Seq, want.windows[len(want.windows)-1].Seq, issued, calls)
		}
	}
	for _, want := range []string{"calls_per_second=0 before=200", "calls_per_second=100 before=0"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log %q, want %q", log.String(), want)
		}
	}
}

// Rates that are none are refused and change nothing.
func TestSetRateRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := cluster(t, true, named("a"))
		open, closed, fresh := cfg, cfg, cfg
		open.Rate, closed.Concurrency, fresh.FreshConnections = 200, 1, 1
		for _, tt := range []struct {
			name string
			cfg  loadgen.Config
			rate float64
			code codes.Code
			want string
		}{
			{"negative", open, -1, codes.InvalidArgument, "calls_per_second is -1, expected 0"},
			{"not_a_number", open, math.NaN(), codes.InvalidArgument, "is NaN"},
			{"infinite", open, math.Inf(1), codes.InvalidArgument, "is +Inf"},
			{"too_much", open, 1e6 + 1, codes.InvalidArgument, "to 1e+06 calls per second"},
			{"most", open, 1e6, codes.OK, ""},
			{"closed_loop", closed, 5, codes.FailedPrecondition, "--concurrency"},
			{"fresh_connections", fresh, 0, codes.FailedPrecondition, "--fresh-connections"},
		} {
			client, err := loadgen.New(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			control := client.Control(slog.New(slog.DiscardHandler))
			_, err = control.SetRate(t.Context(), &echopb.SetRateRequest{CallsPerSecond: tt.rate})
			if got := status.Convert(err); got.Code() != tt.code || !strings.Contains(got.Message(), tt.want) {
				t.Errorf("%s: SetRate(%v) = %v, want %v with %q", tt.name, tt.rate, err, tt.code, tt.want)
			}
			if tt.code != codes.InvalidArgument {
				continue
			}
			reply, err := control.SetRate(t.Context(), &echopb.SetRateRequest{CallsPerSecond: 1})
			if err != nil || reply.GetCallsPerSecond() != 200 {
				t.Errorf("%s: then SetRate(1) = %v, %v, want the rate before, 200", tt.name, reply, err)
			}
		}
	})
}

// A client that is paused before it starts makes no call and is not failed for it.
func TestPausedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := cluster(t, true, named("a"))
		cfg.Rate, cfg.Duration = 200, 5*time.Second
		client, err := loadgen.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Control(slog.New(slog.DiscardHandler)).SetRate(t.Context(), &echopb.SetRateRequest{}); err != nil {
			t.Fatal(err)
		}
		r := new(recorder)
		if err := client.Run(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		checkSums(t, r)
		if got := linesOf[*calllog.Summary](r)[0].Issued; got != 0 {
			t.Errorf("%d calls, want none", got)
		}
		if got := len(linesOf[*calllog.Window](r)); got < 5 {
			t.Errorf("%d windows, want one a second", got)
		}
	})
}
