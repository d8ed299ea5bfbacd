package main

import (
	"context"
	"net"
	"slices"
	"strconv"
	"testing"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	managerpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// serve returns the address on loopback of what is registered.
func serve(t *testing.T, register func(grpc.ServiceRegistrar)) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	register(srv)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-served; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	return lis.Addr().String()
}

// echoServer answers with its name.
type echoServer struct {
	echopb.UnimplementedEchoServiceServer
	name string
}

func (s echoServer) Echo(context.Context, *echopb.EchoRequest) (*echopb.EchoResponse, error) {
	return &echopb.EchoResponse{Pod: s.name}, nil
}

func serveEcho(t *testing.T, name string) string {
	t.Helper()
	return serve(t, func(s grpc.ServiceRegistrar) { echopb.RegisterEchoServiceServer(s, echoServer{name: name}) })
}

// xdsServer tells everyone the same resources, once: they never change.
type xdsServer struct {
	discoverypb.UnimplementedAggregatedDiscoveryServiceServer
	resources map[string]*anypb.Any // by type; one of each
}

func (s *xdsServer) StreamAggregatedResources(stream discoverypb.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	var told []string // types
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		resource := s.resources[request.GetTypeUrl()]
		// What follows the first request of a type acknowledges the answer.
		if resource == nil || slices.Contains(told, request.GetTypeUrl()) {
			continue
		}
		told = append(told, request.GetTypeUrl())
		if err := stream.Send(&discoverypb.DiscoveryResponse{
			TypeUrl: request.GetTypeUrl(), VersionInfo: "1", Nonce: "1", Resources: []*anypb.Any{resource},
		}); err != nil {
			return err
		}
	}
}

// serveXDS returns the address of an xDS server that knows one name, which stands
// for servers to be called in turn. The socket, which may be nil, says how to connect.
func serveXDS(t *testing.T, name string, addrs []string, socket *corepb.TransportSocket) string {
	t.Helper()
	const cluster = "cluster"
	server := &xdsServer{resources: map[string]*anypb.Any{}}
	for _, resource := range []proto.Message{
		&listenerpb.Listener{Name: name, ApiListener: &listenerpb.ApiListener{ApiListener: pack(t, &managerpb.HttpConnectionManager{
			RouteSpecifier: &managerpb.HttpConnectionManager_RouteConfig{RouteConfig: &routepb.RouteConfiguration{
				Name: "route", VirtualHosts: []*routepb.VirtualHost{{
					Name: "host", Domains: []string{name},
					Routes: []*routepb.Route{{
						Match:  &routepb.RouteMatch{PathSpecifier: &routepb.RouteMatch_Prefix{Prefix: ""}},
						Action: &routepb.Route_Route{Route: &routepb.RouteAction{ClusterSpecifier: &routepb.RouteAction_Cluster{Cluster: cluster}}},
					}},
				}},
			}},
			HttpFilters: []*managerpb.HttpFilter{{
				Name: "router", ConfigType: &managerpb.HttpFilter_TypedConfig{TypedConfig: pack(t, &routerpb.Router{})},
			}},
		})}},
		&clusterpb.Cluster{
			Name: cluster, LbPolicy: clusterpb.Cluster_ROUND_ROBIN, TransportSocket: socket,
			ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_EDS},
			EdsClusterConfig: &clusterpb.Cluster_EdsClusterConfig{EdsConfig: &corepb.ConfigSource{
				ConfigSourceSpecifier: &corepb.ConfigSource_Ads{Ads: &corepb.AggregatedConfigSource{}},
			}},
		},
		&endpointpb.ClusterLoadAssignment{ClusterName: cluster, Endpoints: []*endpointpb.LocalityLbEndpoints{{
			Locality: &corepb.Locality{Zone: "zone"}, LoadBalancingWeight: wrapperspb.UInt32(1), LbEndpoints: endpoints(t, addrs),
		}}},
	} {
		packed := pack(t, resource)
		server.resources[packed.GetTypeUrl()] = packed
	}
	return serve(t, func(s grpc.ServiceRegistrar) { discoverypb.RegisterAggregatedDiscoveryServiceServer(s, server) })
}

func endpoints(t *testing.T, addrs []string) []*endpointpb.LbEndpoint {
	t.Helper()
	var all []*endpointpb.LbEndpoint
	for _, addr := range addrs {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &endpointpb.LbEndpoint{HostIdentifier: &endpointpb.LbEndpoint_Endpoint{Endpoint: &endpointpb.Endpoint{
			Address: &corepb.Address{Address: &corepb.Address_SocketAddress{SocketAddress: &corepb.SocketAddress{
				Address: host, PortSpecifier: &corepb.SocketAddress_PortValue{PortValue: uint32(number)},
			}}},
		}}})
	}
	return all
}

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	packed, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}
