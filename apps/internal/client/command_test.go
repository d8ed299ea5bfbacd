package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	channelzgrpc "google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/client"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program is one that adds a resolver of its own, an xds one that knows nobody,
// and that cannot work for one target.
var program = client.Program{
	Name:   "echo-test",
	Target: "own:///name",
	Resolvers: func(target string, _ *slog.Logger) ([]resolver.Builder, error) {
		switch scheme := loadgen.Scheme(target); scheme {
		case "own", "xds":
			return []resolver.Builder{manual.NewBuilderWithScheme(scheme)}, nil
		case "broken":
			return nil, errors.New("broken as told")
		}
		return nil, nil
	},
}

// server answers after a delay, or when it is told to stop.
type server struct {
	echopb.UnimplementedEchoServiceServer
	delay  time.Duration
	called chan<- struct{} // may be nil
}

func (s server) Echo(ctx context.Context, _ *echopb.EchoRequest) (*echopb.EchoResponse, error) {
	select {
	case s.called <- struct{}{}:
	default:
	}
	timer := time.NewTimer(s.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return &echopb.EchoResponse{Pod: "pod"}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve returns the address of an EchoService on loopback.
func serve(t *testing.T, s server) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	echopb.RegisterEchoServiceServer(srv, s)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-served; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	return lis.Addr().String()
}

// output is a buffer that tells when a text was written to it.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	grew chan struct{}
}

func newOutput() *output { return &output{grew: make(chan struct{}, 1)} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.grew <- struct{}{}:
	default:
	}
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// wait returns when text was written, or fails after a generous time.
func (o *output) wait(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for !strings.Contains(o.String(), text) {
		select {
		case <-o.grew:
		case <-timeout:
			t.Fatalf("no %q in the output:\n%s", text, o)
		}
	}
}

// Wrong command lines end with 2 and one line that says what is wrong; nothing
// is called.
func TestUsage(t *testing.T) {
	tests := []struct {
		name, args string
		code       int
		want       string // in stderr, or in stdout when the code is 0
	}{
		{"help", "--help", client.ExitOK, "--lb-policy"},
		{"help_names_the_program", "--help", client.ExitOK, "\n  echo-test --target"},
		{"help_names_its_targets", "--help", client.ExitOK, "passthrough:///host:port, own:///name"},
		{"help_of_resolve", "resolve --help", client.ExitOK, "of the resolution"},
		{"version", "--version", client.ExitOK, "echo-test "},
		{"nothing", "", client.ExitUsage, "--target is missing"},
		{"unknown_flag", "--frob", client.ExitUsage, "unknown flag: --frob"},
		{"not_a_number", "--target x:1 --rate fast", client.ExitUsage, `"fast"`},
		{"stray_argument", "--target x:1 now", client.ExitUsage, `unexpected argument "now"`},
		{"resolve_not_first", "--target x:1 resolve", client.ExitUsage, "resolve as the first argument"},
		{"rate_zero", "--target x:1 --rate 0", client.ExitUsage, "--rate 0"},
		{"concurrency_zero", "--target x:1 --concurrency 0", client.ExitUsage, "--concurrency 0"},
		{"fresh_zero", "--target x:1 --fresh-connections 0", client.ExitUsage, "--fresh-connections 0"},
		{"rate_and_concurrency", "--target x:1 --rate 5 --concurrency 5", client.ExitUsage, "exclude each other"},
		{"unknown_policy", "--target x:1 --lb-policy best", client.ExitUsage, `"best"`},
		{"unknown_scheme", "--target zk:///x:1", client.ExitUsage, `"zk"`},
		{"resolve_unknown_scheme", "resolve --target zk:///x:1", client.ExitUsage, `"zk"`},
		{"resolve_with_rate", "resolve --target x:1 --rate 5", client.ExitUsage, "unknown flag: --rate"},
		{"resolve_no_time", "resolve --target x:1 --timeout 0s", client.ExitUsage, "--timeout 0s"},
		{"output", "--target x:1 --output xml", client.ExitUsage, `"xml"`},
		{"log_level", "--target x:1 --log-level loud", client.ExitUsage, "debug, info, warn or error"},
		{"admin_for_all", "--target x:1 --admin 0.0.0.0:9091", client.ExitUsage, "loopback"},
		{"metrics", "--target x:1 --metrics 9464", client.ExitUsage, `--metrics: metrics address "9464": expected host:port`},
		{"xds_with_policy", "--target xds:///x:1 --lb-policy round_robin", client.ExitUsage, "the xDS server says how to balance"},
		{"xds_resolve", "resolve --target xds:///x:1", client.ExitUsage, "shows no addresses"},
		{"cannot_work", "--target broken:///x", client.ExitFailed, "broken as told"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr := newOutput(), newOutput()
			if got := program.Run(strings.Fields(tt.args), nil, stdout, stderr); got != tt.code {
				t.Errorf("exit code %d, want %d", got, tt.code)
			}
			told, silent := stderr.String(), stdout.String()
			if tt.code == client.ExitOK {
				told, silent = silent, told
			} else if strings.Count(told, "\n") != 1 || !strings.HasPrefix(told, "echo-test: ") {
				t.Errorf("stderr %q, want one line", told)
			}
			if !strings.Contains(told, tt.want) || silent != "" {
				t.Errorf("output %q, want %q; beside it %q, want nothing", told, tt.want, silent)
			}
		})
	}
}

// Without --rate the variable RATE says how many calls a second are made. --rate
// and the other two ways to call win over it, even over a value that is no rate.
func TestRateFromEnvironment(t *testing.T) {
	addr := serve(t, server{})
	for _, test := range []struct {
		name, rate, args string
		code             int
		want             string // in stderr
	}{
		{name: "not_set", args: "--count 5", code: client.ExitOK},
		{name: "rate", rate: "200", args: "--count 5", code: client.ExitOK},
		{name: "no_number", rate: "fast", args: "--count 5", code: client.ExitUsage, want: `RATE="fast": expected calls per second, more than 0`},
		{name: "zero", rate: "0", args: "--count 5", code: client.ExitUsage, want: `RATE="0": expected`},
		{name: "not_finite", rate: "NaN", args: "--count 5", code: client.ExitUsage, want: `RATE="NaN": expected`},
		{name: "too_fast", rate: "1e9", args: "--count 5", code: client.ExitUsage, want: "calls per second <="},
		{name: "flag_wins", rate: "fast", args: "--rate 200 --count 5", code: client.ExitOK},
		{name: "closed_loop_wins", rate: "fast", args: "--concurrency 2 --count 5", code: client.ExitOK},
		{name: "fresh_connections_win", rate: "fast", args: "--fresh-connections 5", code: client.ExitOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("RATE", test.rate)
			stdout, stderr := newOutput(), newOutput()
			got := program.Run(append(strings.Fields("--target "+addr+" "+test.args), "--admin="), nil, stdout, stderr)
			if got != test.code || !strings.Contains(stderr.String(), test.want) {
				t.Errorf("exit code %d, stderr %q, want %d and %q", got, stderr, test.code, test.want)
			}
		})
	}
	t.Setenv("RATE", "2")
	stdout := newOutput()
	begin := time.Now()
	if got := program.Run([]string{"--target", addr, "--count", "3", "--admin="}, nil, stdout, newOutput()); got != client.ExitOK {
		t.Errorf("exit code %d", got)
	}
	if took := time.Since(begin); took < 900*time.Millisecond {
		t.Errorf("3 calls at RATE=2 took %v, want a second at least", took)
	}
}

// A run to its count and one against nobody: exit codes, and both logs end with
// the summary.
func TestRun(t *testing.T) {
	addr := serve(t, server{})
	tests := []struct {
		name, args string
		code       int
		calls      int64
	}{
		{"count", "--target " + addr + " --rate 200 --count 20", client.ExitOK, 20},
		{"closed", "--target " + addr + " --concurrency 2 --count 20", client.ExitOK, 20},
		{"fresh", "--target " + addr + " --fresh-connections 20", client.ExitOK, 20},
		{"nobody", "--target passthrough:///127.0.0.1:1 --rate 200 --count 20", client.ExitFailed, 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr := newOutput(), newOutput()
			if got := program.Run(append(strings.Fields(tt.args), "--admin="), nil, stdout, stderr); got != tt.code {
				t.Errorf("exit code %d, want %d; stderr: %s", got, tt.code, stderr)
			}
			var last calllog.Line
			for line, err := range calllog.Read(strings.NewReader(stdout.String())) {
				if err != nil {
					t.Error(err)
				}
				last = line
			}
			if s, ok := last.(*calllog.Summary); !ok || s.Calls != tt.calls {
				t.Errorf("last line %+v, want the summary of %d calls", last, tt.calls)
			}
		})
	}
}

// The sub-command prints one line, or says why it cannot.
func TestResolve(t *testing.T) {
	stdout, stderr := newOutput(), newOutput()
	if got := program.Run([]string{"resolve", "--target", "dns:///127.0.0.1:8080"}, nil, stdout, stderr); got != client.ExitOK {
		t.Fatalf("exit code %d: %s", got, stderr)
	}
	line, err := calllog.Decode([]byte(stdout.String()))
	if err != nil {
		t.Fatal(err)
	}
	resolved, ok := line.(*calllog.Resolved)
	if !ok || resolved.Target != "dns:///127.0.0.1:8080" {
		t.Fatalf("line %+v, want what was resolved", line)
	}
	if diff := cmp.Diff([]string{"127.0.0.1:8080"}, resolved.Addresses); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if got := program.Run([]string{"resolve", "--target", "dns:///no.such.name.invalid:8080"}, nil, newOutput(), newOutput()); got != client.ExitFailed {
		t.Errorf("exit code %d for a name that does not exist, want %d", got, client.ExitFailed)
	}
}

// The first signal ends the calls in order, with exit code 0 and a summary; and
// while calls flow the admin port answers channelz and who answered.
func TestSignalAndAdmin(t *testing.T) {
	addr := serve(t, server{})
	stdout, stderr := newOutput(), newOutput()
	signals := make(chan os.Signal, 2)
	code := make(chan int, 1)
	go func() {
		code <- program.Run([]string{"--target", addr, "--rate", "100", "--admin", "127.0.0.1:0"}, signals, stdout, stderr)
	}()
	stdout.wait(t, `"msg":"first answer"`)

	_, rest, _ := strings.Cut(stdout.String(), `"msg":"admin server","address":"`)
	adminAddr, _, _ := strings.Cut(rest, `"`)
	conn, err := grpc.NewClient(adminAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stats, err := testgrpc.NewLoadBalancerStatsServiceClient(conn).GetClientStats(t.Context(), &testgrpc.LoadBalancerStatsRequest{NumRpcs: 10, TimeoutSec: 20})
	if err != nil || stats.GetRpcsByPeer()["pod"] != 10 || stats.GetNumFailures() != 0 {
		t.Errorf("GetClientStats() = %v, %v, want 10 calls of pod", stats, err)
	}
	channels, err := channelzgrpc.NewChannelzClient(conn).GetTopChannels(t.Context(), &channelzgrpc.GetTopChannelsRequest{})
	if err != nil || len(channels.GetChannel()) == 0 {
		t.Errorf("GetTopChannels() = %v, %v, want the client's channel", channels, err)
	}

	rate, err := echopb.NewClientControlServiceClient(conn).SetRate(t.Context(), &echopb.SetRateRequest{})
	if err != nil || rate.GetCallsPerSecond() != 100 {
		t.Errorf("SetRate(0) = %v, %v, want the rate before, 100", rate, err)
	}

	signals <- syscall.SIGTERM
	if got := <-code; got != client.ExitOK {
		t.Errorf("exit code %d, want %d; stderr: %s", got, client.ExitOK, stderr)
	}
	if !strings.Contains(stdout.String(), `"msg":"summary"`) {
		t.Errorf("no summary in\n%s", stdout)
	}
}

// A second signal does not wait for calls that take long.
func TestSecondSignalStopsAtOnce(t *testing.T) {
	called := make(chan struct{}, 1)
	addr := serve(t, server{delay: time.Minute, called: called})
	stdout, stderr := newOutput(), newOutput()
	signals := make(chan os.Signal, 2)
	code := make(chan int, 1)
	go func() {
		code <- program.Run([]string{"--target", addr, "--concurrency", "1", "--timeout", "1h", "--output", "text", "--admin="}, signals, stdout, stderr)
	}()
	<-called
	signals <- syscall.SIGTERM
	stderr.wait(t, "stopping")
	signals <- syscall.SIGINT
	if got := <-code; got != client.ExitFailed || !strings.Contains(stderr.String(), "second signal") {
		t.Errorf("exit code %d, stderr %q, want %d after the second signal", got, stderr, client.ExitFailed)
	}
}

// With --metrics a Prometheus finds the calls by target, method and code, and
// how a weighted_round_robin weighs the servers.
func TestMetrics(t *testing.T) {
	addr := serve(t, server{})
	stdout, stderr := newOutput(), newOutput()
	signals := make(chan os.Signal, 2)
	code := make(chan int, 1)
	go func() {
		code <- program.Run([]string{"--target", addr, "--rate", "100", "--lb-policy", "weighted_round_robin", "--admin=", "--metrics", "127.0.0.1:0", "--output", "json"}, signals, stdout, stderr)
	}()
	stdout.wait(t, `"msg":"window"`)
	_, rest, _ := strings.Cut(stdout.String(), `"msg":"metrics","address":"`)
	metricsAddr, _, _ := strings.Cut(rest, `"`)
	resp, err := http.Get("http://" + metricsAddr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	for _, want := range []string{
		`grpc_client_call_duration_seconds_count{grpc_method="com.example.grpc.EchoService/echo",grpc_status="OK",grpc_target="dns:///` + addr + `"}`,
		`grpc_lb_wrr_endpoint_weights_count{`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in:\n%s", want, body)
		}
	}
	signals <- syscall.SIGTERM
	if got := <-code; got != client.ExitOK {
		t.Errorf("exit code %d, want %d; stderr: %s", got, client.ExitOK, stderr)
	}
}

// A port that is taken is a failure that says how to go on.
func TestAdminPortTaken(t *testing.T) {
	taken := serve(t, server{})
	stdout, stderr := newOutput(), newOutput()
	if got := program.Run([]string{"--target", taken, "--admin", taken, "--count", "1"}, nil, stdout, stderr); got != client.ExitFailed {
		t.Errorf("exit code %d, want %d", got, client.ExitFailed)
	}
	if !strings.Contains(stderr.String(), "address already in use") || !strings.Contains(stderr.String(), "--admin") {
		t.Errorf("stderr %q, want the cause and the flag", stderr)
	}
	if got := program.Run([]string{"--target", taken, "--admin=", "--metrics", taken, "--count", "1"}, nil, stdout, stderr); got != client.ExitFailed || !strings.Contains(stderr.String(), "choose another --metrics") {
		t.Errorf("exit code %d, stderr %q, want %d and the flag", got, stderr, client.ExitFailed)
	}
}
