package loadgen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
)

// connections counts the connections of all channels that have its credentials, at the
// moments when gRPC establishes and drops them. A stats handler could too, but gRPC would
// call it several times in each call.
type connections struct {
	// peer, if set, is called when a server shows a certificate for the first time.
	peer func(*calllog.Peer)

	mu    sync.Mutex
	sum   connectionCounts
	shown map[string]bool // certificates, by their DER
}

// connectionCounts are sums since the start.
type connectionCounts struct {
	opened, closed int64
	verified       int64 // of the opened: those whose server was verified by TLS
}

func (c *connections) counts() connectionCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum
}

// credentials returns credentials that count around others; nil is without security.
func (c *connections) credentials(others credentials.TransportCredentials) credentials.TransportCredentials {
	if others == nil {
		others = insecure.NewCredentials()
	}
	return &counted{TransportCredentials: others, by: c}
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
	c.by.open(info, raw.RemoteAddr())
	return &countedConn{Conn: conn, closed: sync.OnceFunc(c.by.close)}, info, nil
}

func (c *counted) Clone() credentials.TransportCredentials {
	return &counted{TransportCredentials: c.TransportCredentials.Clone(), by: c.by}
}

// UsesXDS tells gRPC's xDS balancers whether to get certificates for the credentials.
func (c *counted) UsesXDS() bool {
	others, ok := c.TransportCredentials.(interface{ UsesXDS() bool })
	return ok && others.UsesXDS()
}

// open counts a connection, and tells of its certificate if that is new.
func (c *connections) open(info credentials.AuthInfo, server net.Addr) {
	security, verified := info.(credentials.TLSInfo)
	c.mu.Lock()
	c.sum.opened++
	first := false
	if verified {
		c.sum.verified++
		first = c.isFirst(security.State.PeerCertificates)
	}
	c.mu.Unlock()
	if first && c.peer != nil {
		c.peer(peerOf(security, server))
	}
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.closed++
}

// isFirst tells whether the first certificate has not been shown before. c.mu is held.
func (c *connections) isFirst(chain []*x509.Certificate) bool {
	if len(chain) == 0 || c.shown[string(chain[0].Raw)] {
		return false
	}
	if c.shown == nil {
		c.shown = map[string]bool{}
	}
	c.shown[string(chain[0].Raw)] = true
	return true
}

func peerOf(info credentials.TLSInfo, server net.Addr) *calllog.Peer {
	leaf := info.State.PeerCertificates[0]
	peer := &calllog.Peer{
		Header: at(time.Now()), Address: server.String(), TLS: tls.VersionName(info.State.Version), ServerName: info.State.ServerName,
		Subject: leaf.Subject.String(), Serial: leaf.SerialNumber.Text(16), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
	}
	if info.SPIFFEID != nil {
		peer.SPIFFEID = info.SPIFFEID.String()
	}
	return peer
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}
