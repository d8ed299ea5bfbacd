package loadgen

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// connections counts the connections of all channels that have it as their stats
// handler, at the moments when gRPC establishes and drops them.
type connections struct {
	opened, closed atomic.Int64
}

func (c *connections) HandleConn(_ context.Context, s stats.ConnStats) {
	switch s.(type) {
	case *stats.ConnBegin:
		c.opened.Add(1)
	case *stats.ConnEnd:
		c.closed.Add(1)
	}
}

func (c *connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c *connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c *connections) HandleRPC(context.Context, stats.RPCStats)                         {}
