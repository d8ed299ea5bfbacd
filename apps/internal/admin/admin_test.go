package admin_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	channelzpb "google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Only loopback addresses are admitted, and an error names the value and what
// was expected.
func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name    string
		addr    string
		wantErr string // "" is none
	}{
		{name: "ipv4", addr: "127.0.0.1:9090"},
		{name: "ipv4_other_loopback", addr: "127.8.9.10:9090"},
		{name: "ipv6", addr: "[::1]:9090"},
		{name: "localhost", addr: "localhost:0"},
		{name: "every_interface", addr: ":9090", wantErr: `admin address ":9090": expected a loopback host, such as 127.0.0.1, got ""`},
		{name: "unspecified_ipv4", addr: "0.0.0.0:9090", wantErr: `got "0.0.0.0"`},
		{name: "unspecified_ipv6", addr: "[::]:9090", wantErr: `got "::"`},
		{name: "other_address", addr: "10.0.0.1:9090", wantErr: `got "10.0.0.1"`},
		{name: "other_name", addr: "example.com:9090", wantErr: `got "example.com"`},
		{name: "no_port", addr: "127.0.0.1", wantErr: "expected host:port"},
		{name: "port_too_large", addr: "127.0.0.1:65536", wantErr: `expected a port from 0 to 65535, got "65536"`},
		{name: "named_port", addr: "127.0.0.1:http", wantErr: `got "http"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			if err := admin.Check(tc.addr); err != nil {
				got = err.Error()
			}
			if (got == "") != (tc.wantErr == "") || !strings.Contains(got, tc.wantErr) {
				t.Errorf("Check(%q) = %q, want an error that contains %q", tc.addr, got, tc.wantErr)
			}
		})
	}
}

// A started server answers channelz and a service that was passed in; after
// Close its port is free again.
func TestStart(t *testing.T) {
	s, err := admin.Start("127.0.0.1:0", func(r grpc.ServiceRegistrar) {
		healthpb.RegisterHealthServer(r, health.NewServer())
	})
	if err != nil {
		t.Fatal(err)
	}
	addr := s.Addr().String()
	if again, err := admin.Start(addr); err == nil {
		again.Close()
		t.Errorf("Start(%q) on a taken port succeeded, want an error", addr)
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	servers, err := channelzpb.NewChannelzClient(conn).GetServers(t.Context(), &channelzpb.GetServersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(servers.GetServer()) != 1 {
		t.Errorf("channelz knows %d servers, want 1, the admin server", len(servers.GetServer()))
	}
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("the service that was passed in: %v", err)
	}
	s.Close()
	s, err = admin.Start(addr)
	if err != nil {
		t.Fatalf("Start after Close: %v", err)
	}
	s.Close()
}

// An address that others can reach is refused before anything listens.
func TestStartRefusesOtherAddresses(t *testing.T) {
	if s, err := admin.Start("0.0.0.0:0"); err == nil {
		s.Close()
		t.Error(`Start("0.0.0.0:0") succeeded, want an error`)
	}
}
