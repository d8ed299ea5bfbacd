package echo_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

type echoStream = grpc.BidiStreamingClient[echopb.EchoRequest, echopb.EchoResponse]

// open opens a stream that ends with the test.
func (h *harness) open(conn *grpc.ClientConn) echoStream {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h.t.Cleanup(cancel)
	stream, err := echopb.NewEchoServiceClient(conn).EchoStream(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	return stream
}

// say sends a message and returns its answer, or how the stream ended.
func say(stream echoStream) (*echopb.EchoResponse, error) {
	if err := stream.Send(&echopb.EchoRequest{Message: "hello"}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return stream.Recv()
}

// Each message is answered in its turn by the same server over the same connection, and
// counts as a call. The client's last message ends the stream with OK.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, limits)
		conn := h.dial()
		stream := h.open(conn)
		for _, message := range []string{"one", "two", "three"} {
			if err := stream.Send(&echopb.EchoRequest{Message: message}); err != nil {
				t.Fatal(err)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			reply, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, reply.GetMessage()+" of "+reply.GetPod())
		}
		if want := []string{"one of pod-1", "two of pod-1", "three of pod-1"}; !slices.Equal(got, want) {
			t.Errorf("answers %q, want %q", got, want)
		}
		conn.Close()
		h.term()
		if _, last := h.logged(); last["calls"] != float64(3) {
			t.Errorf("last line %v, want 3 calls", last)
		}
	})
}

// A message that fails ends its stream with its error.
func TestStreamOfFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, limits)
		stream := h.open(h.dial())
		if _, err := say(stream); err != nil {
			t.Fatal(err)
		}
		h.setFaults(echo.Faults{ErrorRate: 1})
		if _, err := say(stream); status.Code(err) != codes.Unavailable || status.Convert(err).Message() == "" {
			t.Errorf("error %v, want that of the fault", err)
		}
	})
}

// A server that drains answers streams for its delay. Then it ends them at once with a
// status that tells, and cuts none.
func TestStreamEndsWhenServerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, limits)
		stream := h.open(h.dial())
		if _, err := say(stream); err != nil {
			t.Fatal(err)
		}
		h.term()
		pass(limits.DrainDelay - time.Millisecond)
		if _, err := say(stream); err != nil {
			t.Errorf("while the server drains: %v", err)
		}
		pass(2 * time.Millisecond)
		_, err := stream.Recv()
		if status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "the server stops: open the stream again, on another server" {
			t.Errorf("the stream ended with %v, want Unavailable and the reason", err)
		}
		if msgs, _ := h.logged(); slices.Contains(msgs, "cutting the calls still under way") || h.took > limits.DrainDelay+time.Second {
			t.Errorf("log %q, stopped after %v: want no cut, and an end soon after %v", msgs, h.took, limits.DrainDelay)
		}
	})
}

// Age and grace end a stream; age alone, without a limit to the grace, moves new calls
// and leaves the stream where it began.
func TestStreamAndConnectionAge(t *testing.T) {
	const age = 10 * time.Second
	for _, tc := range []struct {
		name  string
		grace time.Duration
		ends  bool
	}{
		{name: "grace", grace: 5 * time.Second, ends: true},
		{name: "unlimited_grace"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := serve(t, echo.Config{MaxConnectionAge: age, MaxConnectionAgeGrace: tc.grace})
				conn := h.dial()
				stream := h.open(conn)
				var err error
				var lived time.Duration
				for begin := time.Now(); err == nil && lived < time.Hour; lived = time.Since(begin) {
					var reply *echopb.EchoResponse
					if reply, err = say(stream); err == nil && reply.GetConnectionId() != 1 {
						t.Fatalf("the stream is on connection %d, want the first", reply.GetConnectionId())
					}
					pass(time.Second)
				}
				if other, err := h.call(conn); err != nil || other.GetConnectionId() < 2 {
					t.Errorf("a new call: %v, %v, want it over a later connection", other, err)
				}
				switch {
				case !tc.ends && err != nil:
					t.Errorf("the stream ended after %v with %v, want it to live on", lived, err)
				case tc.ends && status.Code(err) != codes.Unavailable:
					t.Errorf("the stream ended with %v, want Unavailable", err)
				// gRPC varies the age by a tenth.
				case tc.ends && (lived < age+tc.grace-age/10 || lived > age+tc.grace+age/10+2*time.Second):
					t.Errorf("the stream lived for %v, want age and grace, %v", lived, age+tc.grace)
				}
			})
		})
	}
}
