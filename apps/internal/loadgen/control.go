package loadgen

import (
	"context"
	"log/slog"
	"math"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// badRate tells whether calls cannot be made at the rate; 0 is a pause.
func badRate(rate float64) bool { return math.IsNaN(rate) || rate < 0 || rate > maxRate }

// Control returns ClientControlService for the client. Each change is logged.
func (c *Client) Control(log *slog.Logger) echopb.ClientControlServiceServer {
	return &controlService{client: c, log: log}
}

type controlService struct {
	echopb.UnimplementedClientControlServiceServer
	client *Client
	log    *slog.Logger
}

// SetRate changes the rate of the open loop from the next call on.
func (s *controlService) SetRate(_ context.Context, req *echopb.SetRateRequest) (*echopb.SetRateResponse, error) {
	rate := req.GetCallsPerSecond()
	if badRate(rate) {
		return nil, status.Errorf(codes.InvalidArgument, "calls_per_second is %v, expected 0, which pauses, to %v calls per second", rate, maxRate)
	}
	if s.client.pace == nil {
		return nil, status.Error(codes.FailedPrecondition, "the client has no rate to change: it was started with --concurrency or --fresh-connections")
	}
	before := s.client.pace.set(rate, time.Now())
	s.log.Info("rate changed", "calls_per_second", rate, "before", before)
	return &echopb.SetRateResponse{CallsPerSecond: before}, nil
}
