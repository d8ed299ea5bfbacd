package echo

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
)

// numbered are credentials that number HTTP/2 connections from 1, in the order they came,
// and log handshakes that fail. A stats handler could number them too, but gRPC would call
// it, and copy the headers for it, in each call.
type numbered struct {
	credentials.TransportCredentials
	log  *slog.Logger
	last atomic.Uint64
}

// newNumbered returns them around others; nil is without security.
func newNumbered(c credentials.TransportCredentials, log *slog.Logger) *numbered {
	if c == nil {
		c = insecure.NewCredentials()
	}
	return &numbered{TransportCredentials: c, log: log}
}

// numberedInfo is what a call's peer has of the handshake.
type numberedInfo struct {
	credentials.AuthInfo
	id uint64
}

// ServerHandshake gives the connection its number.
func (n *numbered) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := n.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		n.log.Warn("handshake failed", "peer", raw.RemoteAddr().String(), "error", err)
		return nil, nil, err
	}
	return conn, numberedInfo{AuthInfo: info, id: n.last.Add(1)}, nil
}

// connectionID returns the number of the connection that a call came over.
func connectionID(ctx context.Context) uint64 {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(numberedInfo); ok {
			return info.id
		}
	}
	return 0
}

// connectionLog logs when connections come and go. It is for a log at level debug alone,
// because of what a stats handler costs.
type connectionLog struct{ log *slog.Logger }

func (c connectionLog) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	c.log.DebugContext(ctx, "connection opened", "connection", connectionID(ctx), "peer", info.RemoteAddr.String())
	return ctx
}

func (c connectionLog) HandleConn(ctx context.Context, event stats.ConnStats) {
	if _, ok := event.(*stats.ConnEnd); ok {
		c.log.DebugContext(ctx, "connection closed", "connection", connectionID(ctx))
	}
}

func (connectionLog) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (connectionLog) HandleRPC(context.Context, stats.RPCStats) {}
