package loadgen_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
)

// Targets are read as gRPC reads them, but what gRPC would silently look up as a
// strange name in DNS is rejected.
func TestCheckTarget(t *testing.T) {
	tests := []struct {
		name, target, scheme string
		want                 string // part of the error; empty: accepted
	}{
		{"dns", "dns:///server:8080", "dns", ""},
		{"dns_without_port", "dns:///server", "dns", ""},
		{"dns_by_another_server", "dns://10.0.0.10/server:8080", "dns", ""},
		{"no_scheme", "server:8080", "dns", ""},
		{"no_scheme_address", "10.0.0.1:8080", "dns", ""},
		{"no_scheme_ipv6", "[::1]:8080", "dns", ""},
		{"passthrough", "passthrough:///10.0.0.1:4140", "passthrough", ""},
		{"unix", "unix:/run/echo.sock", "unix", ""},
		{"own", "test:///x", "test", ""},
		{"k8s_without_resolver", "k8s:///server:grpc", "k8s", `scheme "k8s" is unknown`},
		{"xds_without_resolver", "xds:///server:8080", "xds", "xds (echo-client-xds alone)"},
		{"empty", "", "dns", "--target is missing"},
		{"unknown_scheme", "zookeeper:///server:8080", "zookeeper", "expected one of dns, passthrough"},
		{"two_slashes", "dns://server:8080", "dns", "three slashes"},
		{"nobody", "dns:///", "dns", "names nobody"},
		{"port_forgotten", "dns:///server:", "dns", "expected a port"},
		{"not_a_url", "dns:///server:80%zz", "dns", "--target"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := loadgen.CheckTarget(tt.target, manual.NewBuilderWithScheme("test"))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("CheckTarget(%q) = %v, want %q", tt.target, err, tt.want)
			}
			if got := loadgen.Scheme(tt.target); got != tt.scheme {
				t.Errorf("Scheme(%q) = %q, want %q", tt.target, got, tt.scheme)
			}
		})
	}
}

// builder is a resolver whose report a test decides.
type builder struct {
	*manual.Resolver
	report func(resolver.ClientConn)
}

func (b builder) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	go b.report(cc)
	return b, nil
}

func (builder) Close() {}

// Resolve returns what a resolver reports first, in its order, whichever of the
// two lists it fills; an error, an empty list and silence are errors.
func TestResolve(t *testing.T) {
	address := func(addr string) resolver.Address { return resolver.Address{Addr: addr} }
	tests := []struct {
		name    string
		report  func(resolver.ClientConn)
		want    []string
		wantErr string
	}{
		{"endpoints", func(cc resolver.ClientConn) {
			_ = cc.UpdateState(resolver.State{Endpoints: []resolver.Endpoint{
				{Addresses: []resolver.Address{address("10.0.0.2:1"), address("[fd00::2]:1")}},
				{Addresses: []resolver.Address{address("10.0.0.1:1")}},
			}})
			_ = cc.UpdateState(resolver.State{Addresses: []resolver.Address{address("later")}})
		}, []string{"10.0.0.2:1", "[fd00::2]:1", "10.0.0.1:1"}, ""},
		{"addresses", func(cc resolver.ClientConn) {
			_ = cc.UpdateState(resolver.State{Addresses: []resolver.Address{address("10.0.0.1:1")}})
		}, []string{"10.0.0.1:1"}, ""},
		{"error", func(cc resolver.ClientConn) { cc.ReportError(errors.New("server misbehaving")) }, nil, "server misbehaving"},
		{"empty", func(cc resolver.ClientConn) { _ = cc.UpdateState(resolver.State{}) }, nil, "no addresses"},
		{"silence", func(resolver.ClientConn) {}, nil, "no answer in time"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				own := []resolver.Builder{builder{manual.NewBuilderWithScheme("test"), tt.report}}
				got, err := loadgen.Resolve(ctx, "test:///x", own)
				if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("Resolve() = %v, want %q", err, tt.wantErr)
				}
				if err == nil {
					if diff := cmp.Diff(tt.want, got.Addresses); diff != "" {
						t.Errorf("addresses (-want +got):\n%s", diff)
					}
				}
			})
		})
	}
}

// gRPC's own resolvers are the ones that are asked: an address needs no look-up.
func TestResolveByGRPC(t *testing.T) {
	for _, target := range []string{"dns:///127.0.0.1:8080", "passthrough:///127.0.0.1:8080", "127.0.0.1:8080"} {
		got, err := loadgen.Resolve(t.Context(), target, nil)
		if err != nil {
			t.Errorf("Resolve(%q): %v", target, err)
			continue
		}
		if diff := cmp.Diff([]string{"127.0.0.1:8080"}, got.Addresses); diff != "" {
			t.Errorf("Resolve(%q) (-want +got):\n%s", target, diff)
		}
	}
}
