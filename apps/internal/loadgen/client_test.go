package loadgen_test

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen/latency"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// checkSums verifies what readers of the log rely on: calls are answers and
// failures, windows join without a gap, and their sum is the summary.
func checkSums(t *testing.T, r *recorder) {
	t.Helper()
	summaries := linesOf[*calllog.Summary](r)
	if len(summaries) != 1 {
		t.Fatalf("%d summaries, want 1", len(summaries))
	}
	type sums struct {
		Issued, Calls, Latencies, Opened int64
		Failures                         map[string]int64
		Servers                          distribution.Counts
	}
	got := sums{Failures: map[string]int64{}, Servers: distribution.Counts{}}
	var end time.Time
	for i, w := range linesOf[*calllog.Window](r) {
		if w.Seq != i+1 || (i > 0 && !w.Start.Equal(end)) {
			t.Errorf("window %d starts at %v, want %d at %v, the end of the one before", w.Seq, w.Start, i+1, end)
		}
		end = w.End
		calls := distribution.Counts(w.Servers).Total() + distribution.Counts(w.Failures).Total()
		if calls != w.Calls {
			t.Errorf("window %d: %d answers and failures, want its calls, %d", w.Seq, calls, w.Calls)
		}
		hist, err := latency.Decode(w.LatencyHDR)
		if err != nil {
			t.Fatal(err)
		}
		got.Issued, got.Calls, got.Opened = got.Issued+w.Issued, got.Calls+w.Calls, got.Opened+w.Opened
		got.Latencies += hist.Count()
		got.Servers = got.Servers.Plus(w.Servers)
		for code, n := range w.Failures {
			got.Failures[code] += n
		}
	}
	s := summaries[0]
	want := sums{Issued: s.Issued, Calls: s.Calls, Latencies: s.Calls, Opened: s.Opened, Failures: s.Failures, Servers: s.Servers}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sum of the windows (-summary +got):\n%s", diff)
	}
	if s.Issued != s.Calls {
		t.Errorf("%d calls issued, %d completed at the end, want the same", s.Issued, s.Calls)
	}
}

// In each way of calling, with a server that fails and one that is too slow, the
// lines agree with one another and the number of calls is the one asked for.
func TestEveryCallIsCountedOnce(t *testing.T) {
	tests := []struct {
		name      string
		change    func(*loadgen.Config)
		wantCalls int64
	}{
		{"open_loop_by_duration", func(c *loadgen.Config) { c.Rate, c.Duration = 40, 5*time.Second }, 200},
		{"open_loop_by_count", func(c *loadgen.Config) { c.Rate, c.Count = 300, 1000 }, 1000},
		{"open_loop_slower_than_a_window", func(c *loadgen.Config) { c.Rate, c.Count = .2, 9 }, 9},
		{"closed_loop_by_count", func(c *loadgen.Config) { c.Concurrency, c.Count = 4, 100 }, 100},
		{"fresh_connections", func(c *loadgen.Config) { c.FreshConnections = 30 }, 30},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				good, bad, slow := named("good"), named("bad"), named("slow")
				good.delay = 10 * time.Millisecond
				bad.err = status.Error(codes.Aborted, "refused by the test")
				slow.delay = time.Hour
				cfg := cluster(t, true, good, bad, slow)
				tt.change(&cfg)
				r, err := run(t.Context(), t, cfg)
				if err != nil {
					t.Fatal(err)
				}
				checkSums(t, r)
				s := linesOf[*calllog.Summary](r)[0]
				if s.Calls != tt.wantCalls {
					t.Errorf("%d calls, want %d", s.Calls, tt.wantCalls)
				}
				if got := s.Failures["Aborted"] + s.Failures["DeadlineExceeded"] + s.Servers["good"]; got != s.Calls {
					t.Errorf("failures %v, servers %v, want Aborted, DeadlineExceeded and good alone", s.Failures, s.Servers)
				}
			})
		})
	}
}

// To be stopped ends the issuing, not the calls in flight: they are answered and
// counted, and the summary follows.
func TestStopWaitsForCallsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := named("slow")
		slow.delay = 700 * time.Millisecond
		cfg := cluster(t, true, slow)
		cfg.Rate = 50
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		r, err := run(ctx, t, cfg)
		if err != nil {
			t.Fatal(err)
		}
		checkSums(t, r)
		want := map[string]int64{"slow": 100}
		if diff := cmp.Diff(want, linesOf[*calllog.Summary](r)[0].Servers); diff != "" {
			t.Errorf("servers (-want +got):\n%s", diff)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("stopped after %v, want less than the timeout after the 2 s", took)
		}
	})
}

// A first answer is written at the moment it comes, once for each server, before
// the window that counts it.
func TestFirstAnswersAreWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := named("near"), named("far")
		far.delay = 300 * time.Millisecond
		cfg := cluster(t, true, near, far)
		cfg.Rate, cfg.Duration = 50, 1500*time.Millisecond
		client, err := loadgen.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		written := map[string]time.Duration{}
		windows := 0
		r := &recorder{seen: func(line calllog.Line) {
			switch l := line.(type) {
			case *calllog.FirstAnswer:
				if !l.Time.Equal(time.Now()) || windows > 0 {
					t.Errorf("first answer of %s at %v, written at %v after %d windows, want at once", l.Server, l.Time, time.Now(), windows)
				}
				if l.Reply.GetNode() != "node" || l.Reply.GetZone() != "zone" {
					t.Errorf("first answer %+v, want the server's node and zone", l)
				}
				written[l.Server] += time.Since(start)
			case *calllog.Window:
				windows++
			}
		}}
		if err := client.Run(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if near, far := written["near"], written["far"]; len(written) != 2 || near == 0 || near > 100*time.Millisecond || far < 300*time.Millisecond || far > 400*time.Millisecond {
			t.Errorf("first answers after %v, want near's with the first calls, far's 300 ms later", written)
		}
	})
}

// Servers of other languages know the message's first two fields, or the first:
// they are told apart by what there is.
func TestServersThatSayLess(t *testing.T) {
	modern, older, oldest := named("pod"), named("-"), named("-")
	older.reply = &echopb.EchoResponse{From: "from"}
	oldest.reply = &echopb.EchoResponse{}
	cfg := cluster(t, false, modern, older, oldest)
	cfg.Rate, cfg.Count, cfg.WaitForReady = 100, 100, true // a second, in which all three connect
	r, err := run(t.Context(), t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	servers := linesOf[*calllog.Summary](r)[0].Servers
	for address := range maps.Keys(servers) {
		if address != "pod" && address != "from" && !containsPort(address) {
			t.Errorf("server %q, want pod, from or an address", address)
		}
	}
	if len(servers) != 3 {
		t.Errorf("servers %v, want three", servers)
	}
}

func containsPort(address string) bool { return len(address) > 10 && address[:10] == "127.0.0.1:" }

// Each fresh connection carries one call, and no more are open than allowed.
func TestFreshConnectionsCarryOneCallEach(t *testing.T) {
	s := named("server")
	cfg := cluster(t, false, s)
	cfg.FreshConnections, cfg.Concurrency = 40, 4
	r, err := run(t.Context(), t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	checkSums(t, r)
	if got := linesOf[*calllog.Summary](r)[0]; got.Opened != 40 || got.Calls != 40 {
		t.Errorf("%d calls on %d connections, want 40 on 40", got.Calls, got.Opened)
	}
	if len(s.peers) != 40 {
		t.Errorf("calls by client port: %v, want 40 with one call each", s.peers)
	}
	for _, w := range linesOf[*calllog.Window](r) {
		if w.Connections > 4 {
			t.Errorf("%d connections open, want at most 4", w.Connections)
		}
	}
}

// Nobody answering is a failed run, and the summary is written all the same.
func TestNoAnswerIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := named("bad")
		bad.err = status.Error(codes.Internal, "broken")
		cfg := cluster(t, true, bad)
		cfg.Rate, cfg.Count = 10, 5
		r, err := run(t.Context(), t, cfg)
		if !errors.Is(err, loadgen.ErrNoAnswer) {
			t.Errorf("Run() = %v, want ErrNoAnswer", err)
		}
		checkSums(t, r)
		failures := linesOf[*calllog.Failure](r)
		if len(failures) != 1 || failures[0].Code != "Internal" || failures[0].Error != "broken" {
			t.Errorf("failure lines %v, want one, with code and message", failures)
		}
	})
}

// Calls that nobody attributes are counted all the same, but for who answered.
func TestUnattributed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		err     error // of the server
		want    error
		results map[string]int64
	}{
		{"answered", nil, nil, map[string]int64{}},
		{"failed", status.Error(codes.Internal, "broken"), loadgen.ErrNoAnswer, map[string]int64{"Internal": 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := named("a")
				s.err = tt.err
				cfg := cluster(t, true, s)
				cfg.Concurrency, cfg.Count, cfg.Unattributed = 2, 10, true
				r, err := run(t.Context(), t, cfg)
				if !errors.Is(err, tt.want) {
					t.Errorf("Run() = %v, want %v", err, tt.want)
				}
				got := linesOf[*calllog.Summary](r)[0]
				if got.Calls != 10 || len(got.Servers) > 0 || len(linesOf[*calllog.FirstAnswer](r)) > 0 || !maps.Equal(got.Failures, tt.results) {
					t.Errorf("summary %+v, want 10 calls, no server, failures %v", got, tt.results)
				}
			})
		})
	}
}

// When the output breaks nobody learns of the calls: they end, with an error.
func TestBrokenOutputEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := cluster(t, true, named("a"))
		cfg.Rate = 10
		client, err := loadgen.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		broken := errors.New("disk full")
		if err := client.Run(t.Context(), loadgen.Text{W: failingWriter{broken}}); !errors.Is(err, broken) {
			t.Errorf("Run() = %v, want %v", err, broken)
		}
	})
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// The health service stands for servers of others: each answer is counted by the
// server's address, even that of a server that does not know the service.
func TestHealthIsCountedByAddress(t *testing.T) {
	cfg := cluster(t, false, named("a"), named("b"))
	cfg.Method, cfg.Rate, cfg.Count, cfg.WaitForReady = loadgen.MethodHealth, 100, 100, true // a second, in which both connect
	r, err := run(t.Context(), t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	checkSums(t, r)
	got := linesOf[*calllog.Summary](r)[0].Servers
	if len(got) != 2 || distribution.Counts(got).Total() != 100 {
		t.Errorf("answers by server: %v, want 100 of 2", got)
	}
	for server := range got {
		if _, err := netip.ParseAddrPort(server); err != nil {
			t.Errorf("server %q, want an address and a port", server)
		}
	}
	cfg.Method = "ping"
	if _, err := loadgen.New(cfg); err == nil || !strings.Contains(err.Error(), `--method "ping"`) {
		t.Errorf("error %v, want one that names --method", err)
	}
}
