package echo

import (
	"time"

	orcadata "github.com/cncf/xds/go/xds/data/orca/v3"
	orcapb "github.com/cncf/xds/go/xds/service/orca/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// minReportInterval bounds what reports cost if a client asks for one each instant.
const minReportInterval = 100 * time.Millisecond

// loadReports is ORCA's out-of-band service (gRFC A51): it streams the server's load to
// those who ask for it, at their interval. grpc-go's own, orca.Register, reports every
// 30 s at the most, so that a client would learn of a slow server after half a minute.
type loadReports struct {
	orcapb.UnimplementedOpenRcaServiceServer
	load *load
	// stopping ends all streams when it is closed: no client ends them, and a graceful
	// stop waits for them.
	stopping <-chan struct{}
}

// StreamCoreMetrics reports at once, then at the interval that the request asks for.
func (r *loadReports) StreamCoreMetrics(req *orcapb.OrcaLoadReportRequest, stream grpc.ServerStreamingServer[orcadata.OrcaLoadReport]) error {
	ticker := time.NewTicker(max(req.GetReportInterval().AsDuration(), minReportInterval))
	defer ticker.Stop()
	for {
		m := r.load.ServerMetrics()
		err := stream.Send(&orcadata.OrcaLoadReport{ApplicationUtilization: m.AppUtilization, RpsFractional: m.QPS, Eps: m.EPS})
		if err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-r.stopping:
			return status.Error(codes.Unavailable, "the server stops")
		}
	}
}
