package loadgen

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/health" // so that a service config's healthCheckConfig works
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"

	"github.com/grpc-lb/grpc-lb/apps/internal/policy"
)

const (
	// minKeepalive is gRPC's: it would silently raise what is below.
	minKeepalive = 10 * time.Second
	maxRate      = 1e6
	maxParallel  = 100_000
	// window is how many bytes of messages may be under way, on a connection and in a call.
	window = 1 << 20
)

// The methods that a client can call.
const (
	MethodEcho = "echo"
	// MethodHealth is Check of gRPC's health service. An answer counts with any status of
	// the service, and even if the server does not know the method.
	MethodHealth = "health"
	// MethodStream is echoStream: each call is a message of one stream.
	MethodStream = "stream"
)

var methods = []string{MethodEcho, MethodHealth, MethodStream}

// Config says whom to call, and how. Its fields are the flags of echo-client.
type Config struct {
	Target        string
	Policy        string // name of a balancer; pick_first when it and ServiceConfig are empty
	ServiceConfig string // JSON; excludes Policy
	Method        string // MethodEcho, which is also the default, MethodHealth or MethodStream
	Authority     string
	// NoServiceConfigLookup ignores the service configs that a resolver finds,
	// and so saves dns its TXT look-ups. It has no effect on xds targets.
	NoServiceConfigLookup bool

	Rate             float64       // calls per second, open loop; excludes Concurrency
	Concurrency      int           // callers, closed loop; or connections at a time with FreshConnections
	FreshConnections int64         // that many connections, one call on each; excludes Rate, Count and Duration
	Duration         time.Duration // 0: until stopped
	Count            int64         // calls, 0: until stopped
	MaxInFlight      int64         // calls beyond it are not sent in the open loop but fail as BacklogFull
	Timeout          time.Duration // of one call
	WaitForReady     bool
	KeepaliveTime    time.Duration // 0: off
	KeepaliveTimeout time.Duration
	Message          string
	Metadata         map[string]string // sent with each call
	// Unattributed counts calls without regard to who answered. It shows what that costs.
	Unattributed bool

	Pod, Node, Version string // who calls, for the start line

	Credentials credentials.TransportCredentials // nil: without security
	Resolvers   []resolver.Builder               // for this client alone, in addition to gRPC's
	DialOptions []grpc.DialOption                // applied last
}

// Validate reports everything that is wrong with the configuration, naming the
// flags.
func (c *Config) Validate() error {
	var errs []error
	reject := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	reject(c.Method != "" && !slices.Contains(methods, c.Method), "--method %q: expected one of %s", c.Method, strings.Join(methods, ", "))
	reject(c.Method == MethodStream && c.FreshConnections > 0, "--method %s excludes --fresh-connections: all its calls are made on one stream", MethodStream)
	reject(badRate(c.Rate), "--rate %v: expected 0 < calls per second <= %v", c.Rate, maxRate)
	reject(c.Concurrency < 0 || c.Concurrency > maxParallel, "--concurrency %d: expected 1 to %d callers", c.Concurrency, maxParallel)
	reject(c.FreshConnections < 0, "--fresh-connections %d: expected a positive number", c.FreshConnections)
	reject(c.Count < 0, "--count %d: expected a positive number, or 0 for no limit", c.Count)
	reject(c.Duration < 0, "--duration %v: expected a positive time, or 0 for no limit", c.Duration)
	reject(c.Timeout <= 0, "--timeout %v: expected a positive time", c.Timeout)
	reject(c.KeepaliveTime != 0 && c.KeepaliveTime < minKeepalive, "--keepalive-time %v: expected 0 (off) or at least %v, gRPC's minimum", c.KeepaliveTime, minKeepalive)
	reject(c.KeepaliveTime != 0 && c.KeepaliveTimeout <= 0, "--keepalive-timeout %v: expected a positive time", c.KeepaliveTimeout)
	if c.FreshConnections > 0 {
		reject(c.Rate > 0 || c.Count > 0 || c.Duration > 0, "--fresh-connections excludes --rate, --count and --duration: it makes one call per connection")
	} else {
		reject(c.Rate > 0 && c.Concurrency > 0, "--rate (open loop) and --concurrency (closed loop) exclude each other: give one")
		reject(c.Rate == 0 && c.Concurrency == 0, "nothing to do: give --rate, --concurrency or --fresh-connections")
	}
	errs = append(errs, checkMetadata(c.Metadata)...)
	if err := c.validateBalancing(); err != nil {
		errs = append(errs, err)
	}
	if err := CheckTarget(c.Target, c.Resolvers...); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		// gRPC refuses other errors here, such as a bad service config.
		conn, err := c.dial(new(connections))
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return errors.Join(errs...)
}

func (c *Config) validateBalancing() error {
	switch {
	case c.byControlPlane() && (c.Policy != "" || c.ServiceConfig != ""):
		return fmt.Errorf("--target %q excludes --lb-policy and --service-config: the xDS server says how to balance", c.Target)
	case c.Policy != "" && c.ServiceConfig != "":
		return errors.New("--lb-policy and --service-config exclude each other: name the policy in the service config")
	case c.Policy != "" && balancer.Get(c.Policy) == nil:
		return fmt.Errorf("--lb-policy %q is unknown, expected one of %s", c.Policy, strings.Join(policy.Names(), ", "))
	case c.ServiceConfig != "" && !json.Valid([]byte(c.ServiceConfig)):
		return fmt.Errorf(`--service-config %q is not JSON, expected the like of {"loadBalancingConfig":[{"round_robin":{}}]}`, c.ServiceConfig)
	}
	return nil
}

// byControlPlane tells whether an xDS server says how to balance. It does so by
// a service config, with the routes in it, that the resolver makes up.
func (c *Config) byControlPlane() bool { return Scheme(c.Target) == XDS }

// policyName is the policy for the log: the name where there is one, else the
// service config.
func (c *Config) policyName() string {
	switch {
	case c.byControlPlane():
		return XDS
	case c.ServiceConfig != "":
		return c.ServiceConfig
	case c.Policy != "":
		return c.Policy
	}
	return "pick_first"
}

func (c *Config) serviceConfig() string {
	switch {
	case c.byControlPlane():
		return "{}"
	case c.ServiceConfig != "":
		return c.ServiceConfig
	}
	return policy.ServiceConfig(c.policyName(), "")
}

// dial returns a new channel to the target, whose connections conns counts. It does not
// connect yet.
func (c *Config) dial(conns *connections) (*grpc.ClientConn, error) {
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(conns.credentials(c.Credentials)),
		grpc.WithDefaultServiceConfig(c.serviceConfig()),
		grpc.WithResolvers(c.Resolvers...),
		// A proxy of the environment leads out of the cluster, where no target of this
		// client is: it cannot reach a pod, and for dns:/// gRPC would leave the look-up to
		// it and have one connection with every policy.
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(c.WaitForReady)),
		// An estimate of the bandwidth would cost a ping in each round trip.
		grpc.WithStaticStreamWindowSize(window),
		grpc.WithStaticConnWindowSize(window),
	}
	if len(c.Metadata) > 0 {
		opts = append(opts, withMetadata(c.Metadata)...)
	}
	if c.Authority != "" {
		opts = append(opts, grpc.WithAuthority(c.Authority))
	}
	if c.NoServiceConfigLookup && !c.byControlPlane() {
		opts = append(opts, grpc.WithDisableServiceConfig())
	}
	if c.KeepaliveTime > 0 {
		opts = append(opts, grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: c.KeepaliveTime, Timeout: c.KeepaliveTimeout, PermitWithoutStream: true,
		}))
	}
	conn, err := grpc.NewClient(c.Target, append(opts, c.DialOptions...)...)
	if err != nil {
		return nil, fmt.Errorf("--target %q with service config %s: %w", c.Target, c.serviceConfig(), err)
	}
	return conn, nil
}
