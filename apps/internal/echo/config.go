package echo

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"github.com/grpc-lb/grpc-lb/apps/internal/admin"
	"github.com/grpc-lb/grpc-lb/apps/internal/flagenv"
	"github.com/grpc-lb/grpc-lb/apps/internal/metrics"
	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles"
)

const healthPortFlag = "health-port"

// Config says how a server listens, how it treats connections and how it ends.
// AddFlags fills it, Validate checks it.
type Config struct {
	Port int // serves EchoService and health; 0 picks a free one
	// HealthPort serves health alone, without TLS; 0 is none.
	HealthPort int
	TLS        tlsfiles.Server
	Admin      string // loopback host:port of the admin server; "" is none
	// Metrics is the host:port of the Prometheus endpoint; "" is none.
	Metrics string

	DrainDelay   time.Duration // how long it still answers after it has said NOT_SERVING
	DrainTimeout time.Duration // how long running calls may take after that

	MaxConnectionAge      time.Duration // after which clients are told to reconnect; 0 is never
	MaxConnectionAgeGrace time.Duration // how long calls on such a connection may take; 0 is unlimited

	KeepaliveMinTime time.Duration // shortest ping period of a client that is admitted
	// ORCAPerCall reports the server's load with each answer too, and not only to those
	// who subscribe to OpenRcaService.
	ORCAPerCall bool
	Faults      Faults // until they are changed at the admin server
	LogLevel    slog.Level
}

// AddFlags defines a flag for each field of c, with the field's default.
func (c *Config) AddFlags(fs *pflag.FlagSet) {
	fs.IntVar(&c.Port, "port", 8080, "port of EchoService and of the health service; 0 picks a free port")
	fs.IntVar(&c.HealthPort, healthPortFlag, 0, "port that serves the health service alone, without TLS, for the kubelet's gRPC probes, which show no certificate; 0 is none; the environment variable "+flagenv.Name(healthPortFlag)+" sets the default")
	c.TLS.AddFlags(fs)
	fs.StringVar(&c.Admin, "admin", "127.0.0.1:9090", "loopback address that serves channelz and ServerControlService; an empty value disables it")
	fs.StringVar(&c.Metrics, "metrics", "", "address at which Prometheus reads gRPC's OpenTelemetry metrics, such as :9464 (default: none)")
	fs.DurationVar(&c.DrainDelay, "drain-delay", 5*time.Second,
		"time after the first signal in which the server still answers calls and reports NOT_SERVING, so that clients learn that it leaves")
	fs.DurationVar(&c.DrainTimeout, "drain-timeout", 20*time.Second,
		"time that running calls get after --drain-delay before the server ends them")
	fs.DurationVar(&c.MaxConnectionAge, "max-connection-age", 0,
		"age at which the server closes a connection gracefully, so that the client resolves its target again; 0 disables it")
	fs.DurationVar(&c.MaxConnectionAgeGrace, "max-connection-age-grace", 10*time.Second,
		"time that running calls get after --max-connection-age; 0 is unlimited, and leaves a long stream on its server")
	fs.DurationVar(&c.KeepaliveMinTime, "keepalive-min-time", 5*time.Second,
		"shortest interval of keepalive pings that the server accepts from a client")
	fs.BoolVar(&c.ORCAPerCall, "orca-per-call", false,
		"report the server's load with each answer too, for clients whose weighted_round_robin has no enableOobLoadReport")
	c.Faults.AddFlags(fs)
	fs.Func("log-level", "level of the log: debug, info, warn or error (default info)", func(s string) error {
		if err := c.LogLevel.UnmarshalText([]byte(s)); err != nil {
			return errors.New("expected debug, info, warn or error")
		}
		return nil
	})
}

// FromEnv takes what the command line lacks from the environment.
func (c *Config) FromEnv(fs *pflag.FlagSet, getenv func(string) string) error {
	return errors.Join(flagenv.Apply(fs, getenv, healthPortFlag), c.TLS.FromEnv(fs, getenv))
}

// Validate returns one error that names every violation, in the order of the
// fields.
func (c *Config) Validate() error {
	var errs []error
	if c.Port < 0 || c.Port > 65535 {
		errs = append(errs, fmt.Errorf("--port %d: expected 0 to 65535", c.Port))
	}
	if c.HealthPort < 0 || c.HealthPort > 65535 || c.HealthPort > 0 && c.HealthPort == c.Port {
		errs = append(errs, fmt.Errorf("--health-port (HEALTH_PORT) %d: expected 0 to 65535, and not --port", c.HealthPort))
	}
	if err := c.TLS.Validate(); err != nil {
		errs = append(errs, err)
	}
	if c.Admin != "" {
		if err := admin.Check(c.Admin); err != nil {
			errs = append(errs, fmt.Errorf("--admin: %w", err))
		}
	}
	if c.Metrics != "" {
		if err := metrics.Check(c.Metrics); err != nil {
			errs = append(errs, fmt.Errorf("--metrics: %w", err))
		}
	}
	for _, f := range []struct {
		flag  string
		value time.Duration
	}{
		{"drain-delay", c.DrainDelay},
		{"drain-timeout", c.DrainTimeout},
		{"max-connection-age", c.MaxConnectionAge},
		{"max-connection-age-grace", c.MaxConnectionAgeGrace},
	} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("--%s %v: expected 0s or more", f.flag, f.value))
		}
	}
	// grpc-go reads 0 as its default of five minutes.
	if c.KeepaliveMinTime <= 0 {
		errs = append(errs, fmt.Errorf("--keepalive-min-time %v: expected more than 0s", c.KeepaliveMinTime))
	}
	errs = append(errs, c.Faults.check(asFlag)...)
	return errors.Join(errs...)
}
