package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/internal/callpath"
)

// The test's binary is also the process that compares the accounts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asAccounting {
		main()
	}
	os.Exit(m.Run())
}

// A run with one short round builds the real programs, fills in each figure, and leaves
// nothing behind. Whether goals are kept is not for a test to say, but orders of
// magnitude are.
func TestMeasure(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out, log bytes.Buffer
	if code := run(t.Context(), []string{"--rounds=1", "--time=1s", "-o", "json"}, &out, &log); code != exitOK {
		t.Fatalf("exit code %d: %s", code, log.String())
	}
	var r callpath.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]callpath.Program{"benchmark": r.Benchmark, "ghz": r.GhzEcho, "echo": r.Echo, "per call": r.PerCall} {
		figures := map[string][]float64{"calls/s": p.CallsPerSecond, "client's CPU": p.ClientCPU, "server's CPU": p.ServerCPU, "p50": p.P50}
		if name == "per call" {
			delete(figures, "p50")
		}
		for figure, values := range figures {
			if len(values) != 1 || values[0] < 1 || values[0] > 1e6 {
				t.Errorf("%s: %s %v, want one of 1 to 1,000,000", name, figure, values)
			}
		}
	}
	if len(r.Accounting.On) != 1 || len(r.Accounting.Off) != 1 || r.Accounting.On[0] < 1 || r.Accounting.Off[0] < 1 {
		t.Errorf("accounting %+v, want CPU times with it and without", r.Accounting)
	}
	for _, o := range r.OpenLoop {
		if len(o.Made) != 1 || o.Made[0] > 1.5*o.Asked || o.Made[0] < 0.1*o.Asked {
			t.Errorf("open loop %+v, want about what was asked for", o)
		}
	}
	if len(r.OpenLoop) != len(rates) || r.RequestBytes < len(message) || r.ResponseBytes < len(message) || !strings.HasPrefix(r.Ghz, "v") || !strings.HasPrefix(r.GRPC, "v") {
		t.Errorf("result %+v lacks something", r)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "callpath-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q (%v)", left, err)
	}
}

// A run that is stopped says so and stops its programs.
func TestStopped(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	errStop := errors.New("stopped by the test")
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	log := &onWrite{do: func(line string) {
		if strings.HasPrefix(line, "round") {
			stop(errStop)
		}
	}}
	if _, err := measure(ctx, config{rounds: 1, time: time.Second, stderr: log}); !errors.Is(err, errStop) && !errors.Is(err, context.Canceled) {
		t.Errorf("measure() = %v, want %v", err, errStop)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "callpath-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q (%v)", left, err)
	}
}

type onWrite struct{ do func(string) }

func (w *onWrite) Write(b []byte) (int, error) {
	w.do(string(b))
	return len(b), nil
}

// What cannot be measured is refused with one line.
func TestUsage(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"--rounds=0", "--rounds 0: expected 1 to 100"},
		{"--time=1500ms", "--time 1.5s: expected whole seconds, 1s to 1m0s"},
		{"-o yaml", `--output "yaml": expected table or json`},
		{"here", `unexpected argument "here": expected flags only`},
		{"--what", "unknown flag: --what"},
	} {
		var log strings.Builder
		if code := run(t.Context(), strings.Fields(tc.args), io.Discard, &log); code != exitUsage || !strings.Contains(log.String(), tc.want) || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("%s: exit code %d, %q, want %d and a line with %q", tc.args, code, log.String(), exitUsage, tc.want)
		}
	}
	var out strings.Builder
	if code := run(t.Context(), []string{"--help"}, &out, io.Discard); code != exitOK || !strings.Contains(out.String(), "--rounds") {
		t.Errorf("--help: exit code %d, %q", code, out.String())
	}
}
