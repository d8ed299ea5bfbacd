package loadgen

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// connections counts the connections of all channels that have its credentials, at the
// moments when gRPC establishes and drops them. A stats handler could too, but gRPC would
// call it several times in each call.
type connections struct {
	opened, closed atomic.Int64
}

// credentials returns credentials without security that count.
func (c *connections) credentials() credentials.TransportCredentials {
	return &counted{TransportCredentials: insecure.NewCredentials(), by: c}
}

type counted struct {
	credentials.TransportCredentials
	by *connections
}

// ClientHandshake counts the connection, and its end when that comes.
func (c *counted) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	c.by.opened.Add(1)
	return &countedConn{Conn: conn, closed: sync.OnceFunc(func() { c.by.closed.Add(1) })}, info, nil
}

func (c *counted) Clone() credentials.TransportCredentials {
	return &counted{TransportCredentials: c.TransportCredentials.Clone(), by: c.by}
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}
