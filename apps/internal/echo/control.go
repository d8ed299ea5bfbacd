package echo

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// Control returns ServerControlService for the server. Each change is logged.
func (s *Server) Control() echopb.ServerControlServiceServer { return &controlService{server: s} }

type controlService struct {
	echopb.UnimplementedServerControlServiceServer
	server *Server
}

// SetFaults changes what happens to the calls that come from now on; those under
// way keep what they were dealt.
func (c *controlService) SetFaults(_ context.Context, req *echopb.SetFaultsRequest) (*echopb.SetFaultsResponse, error) {
	faults, err := faultsFrom(req.GetFaults())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	before := c.server.service.faults.Swap(&faults)
	c.server.log.Info("faults changed", "delay", faults.Delay.String(), "delay_jitter", faults.DelayJitter.String(),
		"error_rate", faults.ErrorRate, "error_code", faults.code().String(), "hang_rate", faults.HangRate)
	return &echopb.SetFaultsResponse{Faults: before.proto()}, nil
}
