package loadgen

import (
	"cmp"
	"time"

	"google.golang.org/grpc/peer"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// serverName returns the name under which the answering server is counted. A
// server in another language may fill in only the first fields, or none; then its
// address is its name.
func serverName(reply *echopb.EchoResponse, from *peer.Peer) string {
	name := cmp.Or(reply.GetPod(), reply.GetFrom())
	if name == "" && from.Addr != nil {
		name = from.Addr.String()
	}
	return name
}

// firstAnswer is the one place that maps a reply to the log. A test fails if a
// field of the reply is missing here.
func firstAnswer(now time.Time, a answer) *calllog.FirstAnswer {
	return &calllog.FirstAnswer{
		Header: at(now), Server: a.server,
		From: a.reply.GetFrom(), Pod: a.reply.GetPod(), Node: a.reply.GetNode(), Zone: a.reply.GetZone(),
		Version: a.reply.GetVersion(), ConnectionID: a.reply.GetConnectionId(),
	}
}
