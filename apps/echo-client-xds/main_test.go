package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	statuspb "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/grpc-lb/grpc-lb/apps/internal/admin"
	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/client"
	"github.com/grpc-lb/grpc-lb/apps/internal/distribution"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
)

// asProgram makes this test's binary the program itself: gRPC reads the
// environment once, when a process starts.
const asProgram = "ECHO_CLIENT_XDS_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// run returns the exit code of the program and its output with that environment.
func run(t *testing.T, env []string, args string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(args)...)
	cmd.Env = append([]string{asProgram + "=1", "PATH=" + os.Getenv("PATH")}, env...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	var exit *exec.ExitError
	if failed := cmd.Run(); failed != nil && !errors.As(failed, &exit) {
		t.Fatal(failed)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// bootstrap writes one for the xDS server at that address and returns its path.
func bootstrap(t *testing.T, addr string) string {
	t.Helper()
	content, err := json.Marshal(map[string]any{
		"xds_servers": []any{map[string]any{
			"server_uri": addr, "server_features": []string{"xds_v3"},
			"channel_creds": []any{map[string]string{"type": "insecure"}},
		}},
		"node": map[string]string{"id": "client"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, string(content))
}

func write(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bootstrap.json")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// An xDS server says where the servers are, and that calls go to them in turn:
// gRPC's default, or a service config that is ignored, would call one of them.
// Nothing but the target, and the bootstrap, tells the client so.
func TestControlPlaneSaysHowToBalance(t *testing.T) {
	want := []string{"a", "b", "c"}
	var addrs []string
	for _, name := range want {
		addrs = append(addrs, serveEcho(t, name))
	}
	server := serveXDS(t, "echo-server:8080", addrs, nil)
	env := []string{bootstrapFile + "=" + bootstrap(t, server)}

	code, stdout, stderr := run(t, env, "--target xds:///echo-server:8080 --rate 200 --count 600 --wait-for-ready --timeout 20s --admin 127.0.0.1:0")
	if code != client.ExitOK || stderr != "" {
		t.Fatalf("exit code %d, stderr %q, want %d and nothing; stdout:\n%s", code, stderr, client.ExitOK, stdout)
	}
	var start *calllog.Start
	var summary *calllog.Summary
	for line, err := range calllog.Read(strings.NewReader(stdout)) {
		if err != nil {
			t.Fatal(err)
		}
		switch l := line.(type) {
		case *calllog.Start:
			start = l
		case *calllog.Summary:
			summary = l
		}
	}
	if start == nil || start.Policy != "xds" {
		t.Errorf("start %+v, want the policy to be xds'", start)
	}
	if summary == nil {
		t.Fatalf("no summary in:\n%s", stdout)
	}
	// The first calls go out while the connections come up.
	got := distribution.Counts{}.With(want...).Plus(summary.Servers)
	if got.Total() != 600 || got.MaxMinusMin() > 200 || len(got) != 3 {
		t.Errorf("servers %v, failures %v, want 600 calls of a, b and c in turn", got, summary.Failures)
	}
}

// What is missing is said before any call, in one line that says what to do.
func TestBootstrap(t *testing.T) {
	tests := []struct {
		name, env, args string
		code            int
		want            string
	}{
		{"none", "", "", client.ExitFailed, "set GRPC_XDS_BOOTSTRAP to the path"},
		{"file_missing", bootstrapFile + "=/no/such/file", "", client.ExitFailed, "that GRPC_XDS_BOOTSTRAP names: open /no/such/file: no such file"},
		{"file_empty", bootstrapFile + "=" + write(t, "{}"), "", client.ExitFailed, "names no server"},
		{"file_not_json", bootstrapFile + "=" + write(t, "xds"), "", client.ExitFailed, "bootstrap.json is no xDS bootstrap"},
		{"content_without_address", bootstrapContent + `={"xds_servers":[{}]}`, "", client.ExitFailed, "GRPC_XDS_BOOTSTRAP_CONFIG is no xDS bootstrap"},
		{"resolve", bootstrapFile + "=" + bootstrap(t, "127.0.0.1:1"), "resolve", client.ExitUsage, "shows no addresses"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := run(t, []string{tt.env}, tt.args+" --target xds:///echo-server:8080")
			if code != tt.code || stdout != "" {
				t.Errorf("exit code %d, stdout %q, want %d and nothing", code, stdout, tt.code)
			}
			if !strings.HasPrefix(stderr, "echo-client-xds: ") || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("stderr %q, want one line with %q", stderr, tt.want)
			}
		})
	}
}

// An xDS server that is not there fails the calls, with its reason, not the
// program before them.
func TestServerIsDown(t *testing.T) {
	env := []string{bootstrapFile + "=" + bootstrap(t, "127.0.0.1:1")}
	code, stdout, stderr := run(t, env, "--target xds:///echo-server:8080 --rate 100 --count 5 --admin=")
	if code != client.ExitFailed || !strings.Contains(stderr, "no call was answered") {
		t.Errorf("exit code %d, stderr %q, want %d; stdout:\n%s", code, stderr, client.ExitFailed, stdout)
	}
	if want := `"msg":"failure"`; !strings.Contains(stdout, want) {
		t.Errorf("no %s in:\n%s", want, stdout)
	}
}

// To check the flags asks no xDS server and leaves nothing behind.
func TestValidateAsksNobody(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cfg := loadgen.Config{Target: "xds:///echo-server:8080", Rate: 1, Timeout: time.Second, NoServiceConfigLookup: true}
	if err := cfg.Validate(); err != nil {
		t.Errorf("Validate() = %v, want nil", err)
	}
}

// The admin port tells what the xDS server said.
func TestAdminTellsStatus(t *testing.T) {
	server, err := admin.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := grpc.NewClient(server.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := statuspb.NewClientStatusDiscoveryServiceClient(conn).FetchClientStatus(t.Context(), &statuspb.ClientStatusRequest{}); err != nil {
		t.Errorf("FetchClientStatus() = %v, want an answer", err)
	}
}

// The program calls by DNS like the other one, and says what it cannot do.
func TestOtherTargets(t *testing.T) {
	addr := serveEcho(t, "a")
	for _, tt := range []struct {
		name, args string
		code       int
		want       string
	}{
		{"help", "--help", client.ExitOK, "xds:///name:port"},
		{"passthrough", fmt.Sprintf("--target passthrough:///%s --count 1 --admin=", addr), client.ExitOK, `"servers":{"a":1}`},
		{"k8s", "--target k8s:///echo-server:grpc", client.ExitUsage, "k8s (echo-client alone)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := run(t, nil, tt.args)
			if out := stdout + stderr; code != tt.code || !strings.Contains(out, tt.want) || strings.Contains(out, "k8s:///service") {
				t.Errorf("exit code %d, output %q, want %d and %q", code, out, tt.code, tt.want)
			}
		})
	}
}
