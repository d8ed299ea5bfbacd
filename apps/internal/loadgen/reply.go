package loadgen

import (
	"cmp"

	"google.golang.org/grpc/peer"

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
