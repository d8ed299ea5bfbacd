package echo_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles"
)

// The flags' defaults are those that the manifests count on, and they are valid.
func TestDefaults(t *testing.T) {
	var got echo.Config
	got.AddFlags(pflag.NewFlagSet("test", pflag.ContinueOnError))
	want := echo.Config{
		Port: 8080, Admin: "127.0.0.1:9090",
		DrainDelay: 5 * time.Second, DrainTimeout: 20 * time.Second,
		MaxConnectionAge: 0, MaxConnectionAgeGrace: 10 * time.Second,
		KeepaliveMinTime: 5 * time.Second, LogLevel: slog.LevelInfo,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(tlsfiles.Server{})); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
}

// Every violation is named, with its flag, its value and what was expected.
func TestValidateNamesEveryViolation(t *testing.T) {
	cfg := echo.Config{
		Port: 70000, Admin: "0.0.0.0:9090", Metrics: "9464",
		DrainDelay: -1, DrainTimeout: -2, MaxConnectionAge: -3, MaxConnectionAgeGrace: -4,
		Faults: echo.Faults{Delay: -5, DelayJitter: 1, ErrorRate: 2, HangRate: -1},
	}
	want := `--port 70000: expected 0 to 65535
--admin: admin address "0.0.0.0:9090": expected a loopback host, such as 127.0.0.1, got "0.0.0.0"
--metrics: metrics address "9464": expected host:port, such as :9464
--drain-delay -1ns: expected 0s or more
--drain-timeout -2ns: expected 0s or more
--max-connection-age -3ns: expected 0s or more
--max-connection-age-grace -4ns: expected 0s or more
--keepalive-min-time 0s: expected more than 0s
--delay -5ns: expected 0s or more
--delay-jitter 1ns: expected 0s to the --delay
--error-rate 2: expected 0 to 1
--hang-rate -1: expected 0 to 1`
	if diff := cmp.Diff(want, cfg.Validate().Error()); diff != "" {
		t.Errorf("Validate (-want +got):\n%s", diff)
	}
}
