package loadgen_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
)

// Accepted and rejected configurations side by side; a rejection names the flag
// and what was given.
func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*loadgen.Config)
		want   []string // parts of the error; none: accepted
	}{
		{"plain", func(*loadgen.Config) {}, nil},
		{"closed_loop", func(c *loadgen.Config) { c.Rate, c.Concurrency = 0, 8 }, nil},
		{"fresh_connections", func(c *loadgen.Config) { c.Rate, c.FreshConnections, c.Concurrency = 0, 8, 2 }, nil},
		{"keepalive", func(c *loadgen.Config) { c.KeepaliveTime, c.KeepaliveTimeout = 10*time.Second, time.Second }, nil},
		{"least_request_by_service_config", func(c *loadgen.Config) {
			c.ServiceConfig = `{"loadBalancingConfig":[{"least_request_experimental":{"choiceCount":3}}]}`
		}, nil},
		{"health_checks_by_service_config", func(c *loadgen.Config) {
			c.ServiceConfig = `{"loadBalancingConfig":[{"round_robin":{}}],"healthCheckConfig":{"serviceName":""}}`
		}, nil},
		{"no_way_to_call", func(c *loadgen.Config) { c.Rate = 0 }, []string{"nothing to do"}},
		{"rate_and_concurrency", func(c *loadgen.Config) { c.Concurrency = 1 }, []string{"--rate", "--concurrency", "exclude"}},
		{"rate_not_a_number", func(c *loadgen.Config) { c.Rate = math.NaN() }, []string{"--rate NaN"}},
		{"rate_infinite", func(c *loadgen.Config) { c.Rate = math.Inf(1) }, []string{"--rate +Inf"}},
		{"rate_negative", func(c *loadgen.Config) { c.Rate = -1 }, []string{"--rate -1"}},
		{"concurrency_negative", func(c *loadgen.Config) { c.Rate, c.Concurrency = 0, -2 }, []string{"--concurrency -2"}},
		{"fresh_with_count", func(c *loadgen.Config) { c.Rate, c.FreshConnections, c.Count = 0, 8, 1 }, []string{"--fresh-connections excludes"}},
		{"fresh_negative", func(c *loadgen.Config) { c.FreshConnections = -8 }, []string{"--fresh-connections -8"}},
		{"count_negative", func(c *loadgen.Config) { c.Count = -8 }, []string{"--count -8"}},
		{"duration_negative", func(c *loadgen.Config) { c.Duration = -time.Second }, []string{"--duration -1s"}},
		{"no_timeout", func(c *loadgen.Config) { c.Timeout = 0 }, []string{"--timeout 0s"}},
		{"keepalive_below_minimum", func(c *loadgen.Config) { c.KeepaliveTime, c.KeepaliveTimeout = time.Second, time.Second }, []string{"--keepalive-time 1s", "10s"}},
		{"keepalive_without_timeout", func(c *loadgen.Config) { c.KeepaliveTime = time.Minute }, []string{"--keepalive-timeout 0s"}},
		{"unknown_policy", func(c *loadgen.Config) { c.Policy = "best" }, []string{`--lb-policy "best"`, "round_robin"}},
		{"policy_twice", func(c *loadgen.Config) { c.Policy, c.ServiceConfig = "pick_first", "{}" }, []string{"--lb-policy", "--service-config", "exclude"}},
		{"service_config_no_json", func(c *loadgen.Config) { c.ServiceConfig = "{" }, []string{`--service-config "{"`, "not JSON"}},
		{"service_config_unknown_policy", func(c *loadgen.Config) {
			c.ServiceConfig = `{"loadBalancingConfig":[{"best":{}}]}`
		}, []string{"service config", "best"}},
		{"metadata", func(c *loadgen.Config) { c.Metadata = map[string]string{"x-version": "next"} }, nil},
		{"metadata_in_capitals", func(c *loadgen.Config) { c.Metadata = map[string]string{"X-Version": "next"} }, []string{"--metadata X-Version=next", "0-9 a-z"}},
		{"metadata_of_grpc", func(c *loadgen.Config) { c.Metadata = map[string]string{"grpc-timeout": "1S"} }, []string{"--metadata grpc-timeout=1S", "gRPC's own"}},
		{"metadata_binary", func(c *loadgen.Config) { c.Metadata = map[string]string{"x-bin": "a"} }, []string{"--metadata x-bin=a", "binary"}},
		{"metadata_no_ascii", func(c *loadgen.Config) { c.Metadata = map[string]string{"x": "\n"} }, []string{`--metadata x="\n"`, "ASCII"}},
		{"xds", asXDS, nil},
		{"xds_with_policy", func(c *loadgen.Config) { asXDS(c); c.Policy = "round_robin" }, []string{`"xds:///server:8080"`, "--lb-policy", "xDS server"}},
		{"xds_with_service_config", func(c *loadgen.Config) { asXDS(c); c.ServiceConfig = "{}" }, []string{"--service-config", "xDS server"}},
		{"all_at_once", func(c *loadgen.Config) { c.Target, c.Timeout, c.Policy = "", 0, "best" }, []string{"--target", "--timeout", "--lb-policy"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := loadgen.Config{Target: "dns:///server:8080", Rate: 50, Timeout: time.Second}
			tt.change(&cfg)
			err := cfg.Validate()
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("Validate() = %v, want error: %v", err, tt.want != nil)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("Validate() = %v, want it to say %q", err, part)
				}
			}
			if _, newErr := loadgen.New(cfg); (newErr == nil) != (err == nil) {
				t.Errorf("New() = %v, want what Validate says: %v", newErr, err)
			}
		})
	}
}

// asXDS gives the configuration a target and a resolver of the scheme xds. The
// one of gRPC is tested with the program that has it.
func asXDS(c *loadgen.Config) {
	c.Target, c.Resolvers = "xds:///server:8080", []resolver.Builder{manual.NewBuilderWithScheme("xds")}
}
