package slow_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/grpc-lb/grpc-lb/apps/internal/policy"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report/slow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a network for virtual time.
type memory struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
}

// listener is one of it that has an address of its own.
type listener struct {
	*bufconn.Listener
	name string
}

func (l listener) Addr() net.Addr { return l }
func (listener) Network() string  { return "memory" }
func (l listener) String() string { return l.name }
func (m *memory) use(c *slow.Config) {
	m.listeners = map[string]*bufconn.Listener{}
	c.Listen = func() (net.Listener, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		l := listener{bufconn.Listen(1 << 16), fmt.Sprintf("memory-%d", len(m.listeners))}
		m.listeners[l.name] = l.Listener
		return l, nil
	}
	c.DialOptions = []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.listeners[addr].DialContext(ctx)
	})}
}

// Who balances by load sends the slow server less than who balances by turns, who
// is told the load less than who counts its own calls, and who times these least.
// pick_first stays where each client began. No call fails.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := slow.Default()
		cfg.Rate, cfg.Clients, cfg.Rounds, cfg.Time = 300, 2, 1, 6*time.Second
		new(memory).use(&cfg)
		got, err := slow.Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string]slow.Row{}
		for _, r := range got.Policies {
			rows[r.Policy] = r
			t.Logf("%s: share %.4f, %+v, %d calls", r.Policy, r.Share, r.Latency, r.Calls)
			if want := cfg.Rate * cfg.Time.Seconds(); r.Failed > 0 || math.Abs(float64(r.Calls)-want) > want/50 {
				t.Errorf("%s: %d calls, %d failed, want about %.0f and none", r.Policy, r.Calls, r.Failed, want)
			}
		}
		turns, least, weighted, fastest := rows["round_robin"], rows["least_request_experimental"], rows["weighted_round_robin"], rows["peak_ewma_experimental"]
		if math.Abs(turns.Share-0.1) > 0.005 {
			t.Errorf("round_robin sends the slow server %.4f of the calls, want a tenth", turns.Share)
		}
		if least.Share > turns.Share*0.9 || weighted.Share > least.Share*0.5 {
			t.Errorf("shares of the slow server: weighted_round_robin %.4f, least_request %.4f, round_robin %.4f, want them clearly in this order",
				weighted.Share, least.Share, turns.Share)
		}
		if fastest.Share > weighted.Share*0.5 || fastest.Latency.P99 > 10 {
			t.Errorf("peak_ewma sends the slow server %.4f of the calls, p99 %.1f ms, want next to none, and no call of the slow server in the p99", fastest.Share, fastest.Latency.P99)
		}
		if whole := rows["pick_first"].Share * float64(cfg.Clients); math.Abs(whole-math.Round(whole)) > 0.1 {
			t.Errorf("pick_first sends the slow server %.4f of the calls, want those of whole clients of %d", rows["pick_first"].Share, cfg.Clients)
		}
		if slowMS := 50.0; turns.Latency.P99 < slowMS || weighted.Latency.P90 > slowMS/2 {
			t.Errorf("p99 of round_robin %.1f ms, p90 of weighted_round_robin %.1f ms, want the slow server in the first only", turns.Latency.P99, weighted.Latency.P90)
		}
	})
}

// The same over loopback: every server is called, and the slow one is slow.
func TestLoopback(t *testing.T) {
	cfg := slow.Default()
	cfg.Rate, cfg.Rounds, cfg.Time = 200, 2, time.Second
	cfg.Policies = []policy.Policy{{Name: "round_robin", WarmUp: time.Second}}
	var steps, ended []string
	cfg.Step = func(name string) func(error) {
		steps = append(steps, name)
		return func(err error) { ended = append(ended, fmt.Sprint(err)) }
	}
	got, err := slow.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	row := got.Policies[0]
	if row.Failed > 0 || math.Abs(row.Share-0.1) > 0.03 || row.Latency.P99 < 50 || len(row.ShareByRound) != 2 {
		t.Errorf("%+v, want a tenth of the calls at the slow server, in each of two rounds", row)
	}
	if strings.Join(steps, ", ") != "round 1 of 2: round_robin, round 2 of 2: round_robin" || strings.Join(ended, " ") != "<nil> <nil>" {
		t.Errorf("steps %q ended with %q, want one for each turn", steps, ended)
	}
	var table strings.Builder
	if err := slow.Write(&table, got); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"round_robin", "One of 10 servers answers after 50 ms", "loopback", "no cluster"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
}

// Whoever stops a measurement gets the reason, and a server that cannot listen is
// one; goleak sees that nothing is left.
func TestStops(t *testing.T) {
	errStop := errors.New("stopped by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	cfg := slow.Default()
	cfg.Step = func(string) func(error) {
		cancel(errStop)
		return func(error) {}
	}
	if _, err := slow.Run(ctx, cfg); !errors.Is(err, errStop) {
		t.Errorf("Run() = %v, want %v", err, errStop)
	}

	errListen := errors.New("no more ports")
	listen, left := cfg.Listen, 3
	cfg.Listen = func() (net.Listener, error) {
		if left--; left < 0 {
			return nil, errListen
		}
		return listen()
	}
	if _, err := slow.Run(t.Context(), cfg); !errors.Is(err, errListen) {
		t.Errorf("Run() = %v, want %v", err, errListen)
	}
}

// Settings that cannot be measured are refused by their flags.
func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*slow.Config)
		want   string
	}{
		{"default", func(*slow.Config) {}, ""},
		{"one_server", func(c *slow.Config) { c.Servers = 1 }, "--servers 1: expected 2 to 100"},
		{"delay", func(c *slow.Config) { c.Delay = -1 }, "--delay -1ns: expected 0s or more"},
		{"slow_is_fast", func(c *slow.Config) { c.SlowDelay = time.Millisecond }, "--slow-delay 1ms: expected at least --delay"},
		{"slow_beyond_timeout", func(c *slow.Config) { c.SlowDelay = time.Minute }, "less than 5s"},
		{"rate", func(c *slow.Config) { c.Rate = math.NaN() }, "--rate NaN: expected 1 to 10000"},
		{"clients", func(c *slow.Config) { c.Clients = 0 }, "--clients 0"},
		{"rounds", func(c *slow.Config) { c.Rounds = 101 }, "--rounds 101: expected 1 to 100"},
		{"time", func(c *slow.Config) { c.Time = 0 }, "--time 0s: expected 1s or more"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := slow.Default()
			tc.change(&cfg)
			got := ""
			if err := cfg.Validate(); err != nil {
				got = err.Error()
			}
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("Validate() = %q, want %q", got, tc.want)
			}
		})
	}
}
