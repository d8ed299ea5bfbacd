package echo

import (
	"context"
	"strings"
	"time"

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
	lasting := req.GetLasting().AsDuration()
	if req.GetLasting() != nil && (req.GetLasting().CheckValid() != nil || lasting <= 0) {
		return nil, status.Errorf(codes.InvalidArgument, "lasting %v: expected more than 0s, or none for until the next request", lasting)
	}
	current := &c.server.service.faults
	before := current.Swap(&faults)
	if lasting > 0 {
		time.AfterFunc(lasting, func() {
			if current.CompareAndSwap(&faults, &Faults{}) { // nobody has changed them since
				c.server.log.Info("faults over", "lasted", lasting.String())
			}
		})
	}
	if *before == faults {
		return &echopb.SetFaultsResponse{Faults: before.proto()}, nil // they only last longer
	}
	c.server.log.Info("faults changed", "delay", faults.Delay.String(), "delay_jitter", faults.DelayJitter.String(),
		"error_rate", faults.ErrorRate, "error_code", faults.code().String(), "hang_rate", faults.HangRate)
	return &echopb.SetFaultsResponse{Faults: before.proto()}, nil
}
