package echo

import (
	"context"
	"log/slog"
	"sync/atomic"

	"google.golang.org/grpc/orca"
	"google.golang.org/grpc/stats"

	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// service answers calls and counts them.
type service struct {
	echopb.UnimplementedEchoServiceServer
	id     Identity
	load   load
	calls  atomic.Uint64
	faults atomic.Pointer[Faults] // never nil
}

func (s *service) Echo(ctx context.Context, req *echopb.EchoRequest) (_ *echopb.EchoResponse, err error) {
	s.calls.Add(1)
	end := s.load.begin()
	defer func() { end(err) }()
	// gRPC sends the load with the answers of those calls that ask for a
	// recorder, where the server has one.
	_ = orca.CallMetricsRecorderFromContext(ctx)
	if err := s.faults.Load().inflict(ctx); err != nil {
		return nil, err
	}
	return &echopb.EchoResponse{
		Message:      req.GetMessage(),
		From:         s.id.Name(),
		Pod:          s.id.Pod,
		Node:         s.id.Node,
		Zone:         s.id.Zone,
		Version:      s.id.Version,
		ConnectionId: connectionID(ctx),
	}, nil
}

type connectionKey struct{}

// connectionID returns the number of the connection that a call came over.
func connectionID(ctx context.Context) uint64 {
	id, _ := ctx.Value(connectionKey{}).(uint64)
	return id
}

// connections numbers HTTP/2 connections from 1, in the order they came.
type connections struct {
	log  *slog.Logger
	last atomic.Uint64
}

func (c *connections) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	id := c.last.Add(1)
	c.log.DebugContext(ctx, "connection opened", "connection", id, "peer", info.RemoteAddr.String())
	return context.WithValue(ctx, connectionKey{}, id)
}

func (c *connections) HandleConn(ctx context.Context, event stats.ConnStats) {
	if _, ok := event.(*stats.ConnEnd); ok {
		c.log.DebugContext(ctx, "connection closed", "connection", connectionID(ctx))
	}
}

func (*connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (*connections) HandleRPC(context.Context, stats.RPCStats) {}
