package echo

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/orca"

	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// service answers calls and counts them.
type service struct {
	echopb.UnimplementedEchoServiceServer
	id     Identity
	load   load
	calls  atomic.Uint64
	faults atomic.Pointer[Faults] // never nil
	// orcaPerCall says that gRPC has a recorder for each call.
	orcaPerCall bool
	// stopping is closed when streams, which clients never end, have to end.
	stopping chan struct{}
}

func (s *service) Echo(ctx context.Context, req *echopb.EchoRequest) (_ *echopb.EchoResponse, err error) {
	s.calls.Add(1)
	s.load.begin()
	defer func() { s.load.end(err) }()
	if s.orcaPerCall {
		// gRPC sends the load with the answers of those calls that ask for a recorder.
		_ = orca.CallMetricsRecorderFromContext(ctx)
	}
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
