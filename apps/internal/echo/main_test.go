package echo_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// identity is who the servers of these tests say they are.
var identity = echo.Identity{Pod: "pod-1", Node: "node-1", Zone: "zone-1", Host: "host-1", Version: "v1"}

// harness is a server that serves over an in-memory listener. Inside a synctest
// bubble its time is the bubble's.
type harness struct {
	t       *testing.T
	server  *echo.Server
	lis     *bufconn.Listener
	signals chan os.Signal
	cancel  context.CancelCauseFunc
	begin   time.Time
	log     bytes.Buffer // read it only after wait
	ended   chan struct{}
	err     error         // of Serve; read it only after wait
	took    time.Duration // from the start to Serve's end; likewise
}

// serve starts a server that the test ends: by signals, else when it is over.
func serve(t *testing.T, cfg echo.Config) *harness {
	t.Helper()
	return serveAt(t, cfg, slog.LevelInfo)
}

// serveAt is serve with a level of the log.
func serveAt(t *testing.T, cfg echo.Config, level slog.Level) *harness {
	t.Helper()
	if cfg.KeepaliveMinTime == 0 {
		cfg.KeepaliveMinTime = 5 * time.Second
	}
	h := &harness{
		t:       t,
		lis:     bufconn.Listen(1 << 16),
		signals: make(chan os.Signal, 2),
		begin:   time.Now(),
		ended:   make(chan struct{}),
	}
	var ctx context.Context
	ctx, h.cancel = context.WithCancelCause(t.Context())
	h.server = echo.New(cfg, identity, slog.New(slog.NewJSONHandler(&h.log, &slog.HandlerOptions{Level: level})))
	go func() {
		defer close(h.ended)
		h.err = h.server.Serve(ctx, h.lis, h.signals)
		h.took = time.Since(h.begin)
	}()
	t.Cleanup(func() {
		h.cancel(nil)
		<-h.ended
	})
	return h
}

// pass lets time pass in a synctest bubble, where it costs none.
func pass(d time.Duration) {
	time.Sleep(d)
}

// term sends the server a signal.
func (h *harness) term() { h.signals <- syscall.SIGTERM }

// dial returns a new client, with a connection of its own.
func (h *harness) dial() *grpc.ClientConn {
	h.t.Helper()
	conn, err := grpc.NewClient("passthrough:///echo",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return h.lis.DialContext(ctx) }))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	return conn
}

// call calls echo once.
func (h *harness) call(conn *grpc.ClientConn) (*echopb.EchoResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return echopb.NewEchoServiceClient(conn).Echo(ctx, &echopb.EchoRequest{Message: "hello"})
}

// health asks for the status of the whole server and of EchoService.
func (h *harness) health(conn *grpc.ClientConn) [2]healthpb.HealthCheckResponse_ServingStatus {
	h.t.Helper()
	var got [2]healthpb.HealthCheckResponse_ServingStatus
	for i, service := range []string{"", "com.example.grpc.EchoService"} {
		resp, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			h.t.Fatalf("health of %q: %v", service, err)
		}
		got[i] = resp.GetStatus()
	}
	return got
}

// logged waits for the server's end and returns the log's messages.
func (h *harness) logged() (msgs []string, last map[string]any) {
	h.t.Helper()
	<-h.ended
	for sc := bufio.NewScanner(&h.log); sc.Scan(); {
		last = nil
		if err := json.Unmarshal(sc.Bytes(), &last); err != nil {
			h.t.Fatalf("log line %q: %v", sc.Text(), err)
		}
		msgs = append(msgs, last["msg"].(string))
	}
	return msgs, last
}

// setFaults changes the server's faults.
func (h *harness) setFaults(f echo.Faults) {
	h.t.Helper()
	faults := &echopb.Faults{Delay: durationpb.New(f.Delay), ErrorRate: f.ErrorRate, HangRate: f.HangRate}
	if _, err := h.server.Control().SetFaults(context.Background(), &echopb.SetFaultsRequest{Faults: faults}); err != nil {
		h.t.Fatal(err)
	}
}
