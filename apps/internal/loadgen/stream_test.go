package loadgen_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// EchoStream answers each message as Echo does. After as many as perStream, if that is
// set, it ends the stream with ends.
func (s *server) EchoStream(stream grpc.BidiStreamingServer[echopb.EchoRequest, echopb.EchoResponse]) error {
	s.mu.Lock()
	s.streams++
	s.mu.Unlock()
	for n := 0; s.perStream == 0 || n < s.perStream; n++ {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		reply, err := s.Echo(stream.Context(), req)
		if err != nil {
			return err
		}
		if err := stream.Send(reply); err != nil {
			return err
		}
	}
	return s.ends
}

// Calls on a stream are messages of one stream, to one server whatever the policy. A
// stream that ends is opened again; each message is counted once, and each end of a
// stream is written as what it is.
func TestStream(t *testing.T) {
	ends := status.Error(codes.Unavailable, "ended by the test")
	for _, tc := range []struct {
		name        string
		change      func(cfg *loadgen.Config, one *server)
		wantEnds    []string // "calls code: error" of each stream
		wantFailed  map[string]int64
		wantStreams int // opened at the most
	}{
		{
			name:     "one",
			change:   func(cfg *loadgen.Config, _ *server) { cfg.Rate, cfg.Count = 100, 500 },
			wantEnds: []string{"500 OK: "}, wantStreams: 1,
		},
		{
			name:     "closed_loop",
			change:   func(cfg *loadgen.Config, _ *server) { cfg.Concurrency, cfg.Count = 8, 500 },
			wantEnds: []string{"500 OK: "}, wantStreams: 1,
		},
		{
			name: "ended_between_messages",
			change: func(cfg *loadgen.Config, one *server) {
				cfg.Rate, cfg.Count, one.perStream, one.ends = 100, 250, 100, ends
			},
			wantEnds:    []string{"100 Unavailable: ended by the test", "100 Unavailable: ended by the test", "50 OK: "},
			wantStreams: 3,
		},
		{
			name: "ended_with_messages_on_it",
			change: func(cfg *loadgen.Config, one *server) {
				cfg.Rate, cfg.Count, one.perStream, one.ends, one.delay = 100, 20, 10, ends, 14500*time.Microsecond
			},
			wantEnds:    []string{"10 Unavailable: ended by the test", "5 OK: "},
			wantFailed:  map[string]int64{"Unavailable": 5},
			wantStreams: 2,
		},
		{
			name: "never_answered",
			change: func(cfg *loadgen.Config, one *server) {
				cfg.Rate, cfg.Duration, one.err = 100, 10*time.Second, status.Error(codes.Aborted, "refused by the test")
			},
			wantFailed:  map[string]int64{"Aborted": 1000},
			wantStreams: 20, // without pauses it would be a thousand
		},
		{
			name: "answered_too_late",
			change: func(cfg *loadgen.Config, one *server) {
				cfg.Rate, cfg.Count, one.delay = 1, 3, 1500*time.Millisecond
			},
			wantEnds:    []string{"2 Canceled: context canceled"}, // the client waits no longer for the third than for an answer
			wantFailed:  map[string]int64{"DeadlineExceeded": 3},
			wantStreams: 1,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				one := named("one")
				cfg := cluster(t, true, one)
				cfg.Method = loadgen.MethodStream
				tc.change(&cfg, one)
				r, err := run(t.Context(), t, cfg)
				if err != nil && !errors.Is(err, loadgen.ErrNoAnswer) {
					t.Fatal(err)
				}
				checkSums(t, r)
				var got []string
				for _, end := range linesOf[*calllog.StreamEnd](r) {
					if end.Server != "one" || end.Opened.After(end.Time) {
						t.Errorf("end %+v, want the server and times", end)
					}
					got = append(got, fmt.Sprintf("%d %s: %s", end.Calls, end.Code, end.Error))
				}
				s := linesOf[*calllog.Summary](r)[0]
				if strings.Join(got, "; ") != strings.Join(tc.wantEnds, "; ") {
					t.Errorf("streams %q, want %q; failures %v", got, tc.wantEnds, s.Failures)
				}
				if diff := cmp.Diff(tc.wantFailed, s.Failures, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("failures (-want +got):\n%s", diff)
				}
				if one.streams > tc.wantStreams {
					t.Errorf("%d streams were opened, want at most %d", one.streams, tc.wantStreams)
				}
			})
		})
	}
}

// A stream stays on the server that the policy chose for it, also with round_robin.
// Without a name in the answers the server is counted by its address.
func TestStreamStaysOnOneServer(t *testing.T) {
	cfg := cluster(t, false, &server{reply: &echopb.EchoResponse{}}, &server{reply: &echopb.EchoResponse{}})
	cfg.Method, cfg.Rate, cfg.Count = loadgen.MethodStream, 1000, 200
	r, err := run(t.Context(), t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	checkSums(t, r)
	s := linesOf[*calllog.Summary](r)[0]
	if len(s.Servers) != 1 || s.Calls != 200 || !strings.HasPrefix(distribution.Counts(s.Servers).Servers()[0], "127.0.0.1:") {
		t.Errorf("servers %v, want one address with all 200 calls", s.Servers)
	}
}
