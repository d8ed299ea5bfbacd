package echo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
	"time"

	orcapb "github.com/cncf/xds/go/xds/service/orca/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/orca"
	"google.golang.org/grpc/reflection"

	"github.com/grpc-lb/grpc-lb/apps/internal/admin"
	"github.com/grpc-lb/grpc-lb/apps/internal/metrics"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

const (
	// handshakeTimeout bounds how long a peer that connects and then says
	// nothing can hold up a graceful stop; grpc-go's own limit is two minutes.
	handshakeTimeout = 10 * time.Second
	// cutTimeout bounds the wait for grpc-go's Stop, which waits for handshakes.
	cutTimeout = time.Second
	// streamWorkers is how many calls at a time do without a goroutine of their own.
	streamWorkers = 64
	// window is how many bytes of messages may be under way, on a connection and in a call.
	window = 1 << 20
)

// Run listens where cfg says and serves until the drain that the first of
// signals starts is over. The log goes to stdout, one JSON object a line.
func Run(ctx context.Context, cfg Config, id Identity, signals <-chan os.Signal, stdout io.Writer) error {
	log := slog.New(slog.NewJSONHandler(stdout, &slog.HandlerOptions{Level: cfg.LogLevel}))
	lis, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(cfg.Port)))
	if err != nil {
		return fmt.Errorf("listening on port %d: %w; choose another --port", cfg.Port, err)
	}
	var opts []grpc.ServerOption
	metricsAddr := ""
	if cfg.Metrics != "" {
		m, err := metrics.Start(cfg.Metrics)
		if err != nil {
			return errors.Join(fmt.Errorf("%w; choose another --metrics", err), lis.Close())
		}
		defer m.Close()
		metricsAddr = m.Addr().String()
		opts = append(opts, m.ServerOption())
	}
	if cfg.TLS.On() {
		creds, closeFiles, err := cfg.TLS.Credentials(log)
		if err != nil {
			return errors.Join(err, lis.Close())
		}
		defer closeFiles()
		opts = append(opts, credentialsOption(creds, log))
	}
	s := New(cfg, id, log, opts...)
	if cfg.HealthPort != 0 {
		stop, err := s.serveHealth(cfg.HealthPort)
		if err != nil {
			return errors.Join(err, lis.Close())
		}
		defer stop()
	}
	adminAddr := ""
	if cfg.Admin != "" {
		a, err := admin.Start(cfg.Admin, func(r grpc.ServiceRegistrar) {
			echopb.RegisterServerControlServiceServer(r, s.Control())
		})
		if err != nil {
			return errors.Join(fmt.Errorf("%w; choose another --admin", err), lis.Close())
		}
		defer a.Close()
		adminAddr = a.Addr().String()
	}
	log.Info("start", "address", lis.Addr().String(), "tls", cfg.TLS.On(), "health_port", cfg.HealthPort, "admin", adminAddr, "metrics", metricsAddr,
		"from", id.Name(), "pod", id.Pod, "node", id.Node, "zone", id.Zone, "namespace", id.Namespace, "ip", id.IP,
		"version", id.Version, "go", runtime.Version())
	return s.Serve(ctx, lis, signals)
}

// credentialsOption makes a server use the credentials; nil is without security.
func credentialsOption(c credentials.TransportCredentials, log *slog.Logger) grpc.ServerOption {
	return grpc.Creds(newNumbered(c, log))
}

// Server is EchoService, health and reflection on one port.
type Server struct {
	cfg     Config
	log     *slog.Logger
	grpc    *grpc.Server
	health  *health.Server
	service *service
}

// New returns a server whose health is SERVING as soon as it serves. The options
// are applied last.
func New(cfg Config, id Identity, log *slog.Logger, opts ...grpc.ServerOption) *Server {
	s := &Server{
		cfg:     cfg,
		log:     log,
		health:  health.NewServer(),
		service: &service{id: id, orcaPerCall: cfg.ORCAPerCall, stopping: make(chan struct{})},
	}
	s.service.faults.Store(&cfg.Faults)
	all := []grpc.ServerOption{
		grpc.ConnectionTimeout(handshakeTimeout),
		credentialsOption(nil, log),
		// A goroutine of each call would grow its stack anew.
		grpc.NumStreamWorkers(streamWorkers),
		// An estimate of the bandwidth would cost a ping in each round trip.
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(window),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge:      cfg.MaxConnectionAge,
			MaxConnectionAgeGrace: cfg.MaxConnectionAgeGrace,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			// On a connection without calls grpc-go never forgives a ping
			// that came early and closes at the third. A peer that pings
			// at just the admitted period is early whenever the ping
			// before was late, so half the period is what is enforced.
			MinTime:             cfg.KeepaliveMinTime / 2,
			PermitWithoutStream: true,
		}),
	}
	if log.Enabled(context.Background(), slog.LevelDebug) {
		all = append(all, grpc.StatsHandler(connectionLog{log}))
	}
	if cfg.ORCAPerCall {
		all = append(all, orca.CallMetricsServerOption(&s.service.load))
	}
	s.grpc = grpc.NewServer(append(all, opts...)...)
	echopb.RegisterEchoServiceServer(s.grpc, s.service)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	orcapb.RegisterOpenRcaServiceServer(s.grpc, &loadReports{load: &s.service.load, stopping: s.service.stopping})
	reflection.Register(s.grpc)
	s.health.SetServingStatus(echopb.EchoService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	return s
}

// Serve answers calls from lis, which it closes, until Drain.Run returns, and
// returns what that returned.
func (s *Server) Serve(ctx context.Context, lis net.Listener, signals <-chan os.Signal) error {
	begin := time.Now()
	failed := make(chan error, 1)
	go func() {
		// After a stop Serve returns nil, which is no failure.
		if err := s.grpc.Serve(lis); err != nil {
			failed <- err
		}
	}()
	drain := Drain{
		Delay:      s.cfg.DrainDelay,
		Timeout:    s.cfg.DrainTimeout,
		NotServing: s.health.Shutdown,
		GracefulStop: func() {
			close(s.service.stopping)
			s.grpc.GracefulStop()
		},
		Stop: s.cut,
		Log:  s.log,
	}
	err := drain.Run(ctx, signals, failed)
	s.log.Info("stopped", "calls", s.service.calls.Load(), "uptime", time.Since(begin).Round(time.Millisecond).String())
	return err
}

// cut closes every connection.
func (s *Server) cut() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.Stop()
	}()
	select {
	case <-done:
	case <-time.After(cutTimeout):
	}
}
