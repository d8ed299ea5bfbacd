package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	channelzpb "google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// binary is the built program: exit codes and signals are the program's own.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "echo-server")
	if err != nil {
		log.Fatal(err)
	}
	binary = filepath.Join(dir, "echo-server")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		log.Fatalf("go build: %v\n%s", err, out)
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		log.Print(err)
	}
	os.Exit(code)
}

// runToEnd runs the program with args until it ends by itself.
func runToEnd(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// Wrong flags and ports that are taken end the program with one line on stderr
// that says what was wrong, and nothing on stdout.
func TestRefusals(t *testing.T) {
	taken, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	takenAdmin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer takenAdmin.Close()

	for _, tc := range []struct {
		name string
		args []string
		code int
		want string // part of the line
	}{
		{name: "unknown_flag", args: []string{"--prot=1"}, code: 2, want: "unknown flag: --prot"},
		{name: "unknown_shorthand", args: []string{"-p=1"}, code: 2, want: "unknown shorthand flag: 'p'"},
		{name: "argument", args: []string{"serve"}, code: 2, want: `unexpected argument "serve": expected flags only`},
		{name: "argument_and_version", args: []string{"--version", "x"}, code: 2, want: `unexpected argument "x"`},
		{name: "port_no_number", args: []string{"--port=http"}, code: 2, want: `invalid argument "http" for "--port" flag`},
		{name: "port_without_value", args: []string{"--port"}, code: 2, want: "flag needs an argument: --port"},
		{name: "port_too_large", args: []string{"--port=65536"}, code: 2, want: "--port 65536: expected 0 to 65535"},
		{name: "port_negative", args: []string{"--port=-1"}, code: 2, want: "--port -1: expected 0 to 65535"},
		{name: "admin_reachable", args: []string{"--admin=0.0.0.0:9090"}, code: 2, want: `--admin: admin address "0.0.0.0:9090": expected a loopback host, such as 127.0.0.1, got "0.0.0.0"`},
		{name: "admin_every_interface", args: []string{"--admin=:9090"}, code: 2, want: "expected a loopback host"},
		{name: "admin_no_port", args: []string{"--admin=127.0.0.1"}, code: 2, want: "expected host:port"},
		{name: "duration_no_unit", args: []string{"--drain-delay=5"}, code: 2, want: `missing unit in duration "5"`},
		{name: "duration_negative", args: []string{"--drain-timeout=-1s"}, code: 2, want: "--drain-timeout -1s: expected 0s or more"},
		{name: "keepalive_zero", args: []string{"--keepalive-min-time=0s"}, code: 2, want: "--keepalive-min-time 0s: expected more than 0s"},
		{name: "metrics_no_port", args: []string{"--metrics=localhost"}, code: 2, want: `--metrics: metrics address "localhost": expected host:port`},
		{name: "metrics_named_port", args: []string{"--metrics=:http"}, code: 2, want: `expected a port from 0 to 65535, got "http"`},
		{name: "error_rate", args: []string{"--error-rate=1.5"}, code: 2, want: "--error-rate 1.5: expected 0 to 1"},
		{name: "error_rate_no_number", args: []string{"--error-rate=NaN"}, code: 2, want: "--error-rate NaN: expected 0 to 1"},
		{name: "error_code", args: []string{"--error-code=OOPS"}, code: 2, want: `invalid argument "OOPS" for "--error-code" flag: expected the name of a gRPC code other than OK`},
		{name: "error_code_ok", args: []string{"--error-code=OK"}, code: 2, want: "other than OK, such as UNAVAILABLE"},
		{name: "jitter_alone", args: []string{"--delay-jitter=1ms"}, code: 2, want: "--delay-jitter 1ms: expected 0s to the --delay"},
		{name: "rates_together", args: []string{"--error-rate=0.6", "--hang-rate=0.5"}, code: 2, want: "--hang-rate 0.5: expected no more than 1 together with --error-rate"},
		{name: "log_level", args: []string{"--log-level=loud"}, code: 2, want: `invalid argument "loud" for "--log-level" flag: expected debug, info, warn or error`},
		{name: "two_violations", args: []string{"--port=-1", "--drain-delay=-1s"}, code: 2, want: "--port -1: expected 0 to 65535; --drain-delay -1s"},
		{name: "port_taken", args: []string{"--port=" + port, "--admin="}, code: 1, want: "address already in use; choose another --port"},
		{name: "admin_taken", args: []string{"--port=0", "--admin=" + takenAdmin.Addr().String()}, code: 1, want: "address already in use; choose another --admin"},
		{name: "metrics_taken", args: []string{"--port=0", "--admin=", "--metrics=" + takenAdmin.Addr().String()}, code: 1, want: "address already in use; choose another --metrics"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := runToEnd(t, tc.args...)
			if code != tc.code || stdout != "" {
				t.Errorf("exit code %d and stdout %q, want %d and nothing", code, stdout, tc.code)
			}
			if !strings.Contains(stderr, tc.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("stderr %q, want one line that contains %q", stderr, tc.want)
			}
		})
	}
}

// --version and --help print to stdout and succeed.
func TestPrints(t *testing.T) {
	for _, tc := range []struct{ name, flag, want string }{
		{name: "version", flag: "--version", want: "echo-server "},
		{name: "help", flag: "--help", want: "--drain-delay duration"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := runToEnd(t, tc.flag)
			if code != 0 || stderr != "" || !strings.Contains(stdout, tc.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q; want 0 and %q on stdout", code, stdout, stderr, tc.want)
			}
		})
	}
}

// process is a running program that logs JSON lines.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	out *bufio.Scanner
}

func start(t *testing.T, args ...string) (p *process, first map[string]any) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"--port=0", "--admin=127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), "POD_NAME=pod-1", "NODE_NAME=node-1")
	cmd.Stderr = io.Discard
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p = &process{t: t, cmd: cmd, out: bufio.NewScanner(pipe)}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails when the process has ended
		_ = cmd.Wait()
	})
	return p, p.until("start")
}

// until reads the log up to the line that says msg.
func (p *process) until(msg string) map[string]any {
	p.t.Helper()
	for p.out.Scan() {
		var line map[string]any
		if err := json.Unmarshal(p.out.Bytes(), &line); err != nil {
			p.t.Fatalf("log line %q: %v", p.out.Text(), err)
		}
		if line["msg"] == msg {
			return line
		}
	}
	p.t.Fatalf("the log ended before it said %q", msg)
	return nil
}

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) exitCode() int {
	_ = p.cmd.Wait() // the code says it all
	return p.cmd.ProcessState.ExitCode()
}

func dial(t *testing.T, addr any) *grpc.ClientConn {
	t.Helper()
	_, port, err := net.SplitHostPort(addr.(string))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///127.0.0.1:"+port, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// The program serves calls under its pod's name and channelz on its admin port;
// SIGTERM ends it with 0 and the number of calls.
func TestServesAndDrains(t *testing.T) {
	p, started := start(t, "--drain-delay=10ms", "--drain-timeout=5s")
	conn := dial(t, started["address"])
	for range 3 {
		resp, err := echopb.NewEchoServiceClient(conn).Echo(t.Context(), &echopb.EchoRequest{Message: "hello"})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := resp.GetFrom(), "pod-1@node-1"; got != want {
			t.Errorf("from %q, want %q", got, want)
		}
	}
	servers, err := channelzpb.NewChannelzClient(dial(t, started["admin"])).GetServers(t.Context(), &channelzpb.GetServersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(servers.GetServer()); got != 2 {
		t.Errorf("channelz knows %d servers, want 2: EchoService and admin", got)
	}
	p.signal(syscall.SIGTERM)
	stopped := p.until("stopped")
	if code := p.exitCode(); code != 0 || stopped["calls"] != 3.0 {
		t.Errorf("exit code %d after %v calls, want 0 after 3", code, stopped["calls"])
	}
}

// Faults begin as the flags say; the admin port changes them while calls come,
// answers what they were, and refuses what cannot be, which changes nothing.
func TestFaults(t *testing.T) {
	_, started := start(t, "--error-rate=1", "--error-code=NOT_FOUND", "--delay=1ms", "--delay-jitter=1ms")
	client := echopb.NewEchoServiceClient(dial(t, started["address"]))
	control := echopb.NewServerControlServiceClient(dial(t, started["admin"]))
	// wantCode makes a call and checks how it ends.
	wantCode := func(want codes.Code) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := client.Echo(ctx, &echopb.EchoRequest{}); status.Code(err) != want {
			t.Errorf("call ended with %v, want code %v", err, want)
		}
	}
	// set changes the faults and checks what they were.
	set := func(faults, want *echopb.Faults) {
		t.Helper()
		resp, err := control.SetFaults(t.Context(), &echopb.SetFaultsRequest{Faults: faults})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, resp.GetFaults(), protocmp.Transform()); diff != "" {
			t.Errorf("faults before (-want +got):\n%s", diff)
		}
	}

	wantCode(codes.NotFound)
	set(&echopb.Faults{ErrorRate: 1}, &echopb.Faults{
		Delay: durationpb.New(time.Millisecond), DelayJitter: durationpb.New(time.Millisecond), ErrorRate: 1, ErrorCode: "NOT_FOUND",
	})
	wantCode(codes.Unavailable)
	if _, err := control.SetFaults(t.Context(), &echopb.SetFaultsRequest{Faults: &echopb.Faults{HangRate: 2}}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("SetFaults with a rate of 2 ended with %v, want %v", err, codes.InvalidArgument)
	}
	wantCode(codes.Unavailable)
	set(nil, &echopb.Faults{ErrorRate: 1, ErrorCode: "UNAVAILABLE"})
	wantCode(codes.OK)
}

// With --metrics a Prometheus finds the calls by method and code, beside the
// ports that there are without.
func TestMetrics(t *testing.T) {
	_, started := start(t, "--metrics=127.0.0.1:0")
	for range 3 {
		if _, err := echopb.NewEchoServiceClient(dial(t, started["address"])).Echo(t.Context(), &echopb.EchoRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := http.Get("http://" + started["metrics"].(string) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := `grpc_server_call_duration_seconds_count{grpc_method="com.example.grpc.EchoService/echo",grpc_status="OK"} 3`
	if !strings.Contains(string(body), want+"\n") {
		t.Errorf("no %s in:\n%s", want, body)
	}
}

// A second signal, of either kind, ends a drain at once with 1.
func TestSecondSignal(t *testing.T) {
	for _, tc := range []struct {
		name   string
		second os.Signal
	}{
		{name: "sigterm", second: syscall.SIGTERM},
		{name: "sigint", second: os.Interrupt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, _ := start(t, "--drain-delay=1h")
			p.signal(syscall.SIGTERM)
			p.until("draining")
			p.signal(tc.second)
			p.until("stopped")
			if code := p.exitCode(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
		})
	}
}
