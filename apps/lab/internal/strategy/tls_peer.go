package strategy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/pki"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// greetTimeout bounds one connection of the lab's to a pod.
const greetTimeout = 10 * time.Second

// Peer is what a pod showed on connections that the lab made to its port, as a client would.
type Peer struct {
	Pod string
	// Proxy says that it is one before the servers: a client's certificate is its own matter.
	Proxy bool
	// Version and Protocol are those of TLS and ALPN, Serial is of its certificate.
	Version, Protocol, Serial string
	// Asked are the authorities, DER subjects, whose certificates it wants of a client.
	Asked [][]byte
	// Failed says why the connection with a certificate failed.
	Failed string
	// Plain and Bare say how it refused a connection without TLS, and one without a
	// certificate; "" is that it accepted it.
	Plain, Bare string
}

// wrong says what is not as it should be.
func (p Peer) wrong() string {
	switch {
	case p.Failed != "":
		return "a connection with a certificate failed: " + p.Failed
	case p.Version != tls.VersionName(tls.VersionTLS13) || p.Protocol != "h2":
		return fmt.Sprintf("it speaks %s and %q, expected TLS 1.3 and h2", p.Version, p.Protocol)
	case p.Plain == "":
		return "it accepts a connection without TLS"
	case p.Bare == "" && !p.Proxy:
		return "it accepts a connection without a certificate"
	}
	return ""
}

// peer is where the lab connects to.
type peer struct {
	pod   string
	name  string // that its certificate must have
	port  int
	proxy bool
}

// peersOf returns the ready servers and the ready proxies before them.
func peersOf(ctx context.Context, env *runner.Environment) (all []peer, err error) {
	env.Record.Look(func(f *observe.Facts) {
		for _, name := range f.ReadyNow() {
			all = append(all, peer{pod: name, name: env.Server, port: portOf(env.Servers)})
		}
	})
	if env.Proxies == nil {
		return all, nil
	}
	proxies, err := readyProxies(ctx, env, int(*env.Proxies.Spec.Replicas))
	for _, p := range proxies {
		all = append(all, peer{pod: p.Name, name: env.Proxies.Name, port: portOf(env.Proxies), proxy: true})
	}
	return all, err
}

// portOf returns the port that a Deployment's pods name grpc.
func portOf(d *appsv1.Deployment) int {
	for _, c := range d.Spec.Template.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == "grpc" {
				return int(p.ContainerPort)
			}
		}
	}
	return 0
}

// dialing is how the lab proves its name and checks a peer's.
type dialing struct {
	own     *pki.Certificate // nil proves nothing
	trusted []*pki.Authority
	at      time.Time // at which certificates must be valid; zero is now
}

// config returns the settings of a connection to a peer of that name.
func (d dialing) config(name string) *tls.Config {
	roots := x509.NewCertPool()
	for _, a := range d.trusted {
		roots.AppendCertsFromPEM(a.PEM())
	}
	c := &tls.Config{ServerName: name, RootCAs: roots, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	if d.own != nil {
		c.Certificates = []tls.Certificate{d.own.TLS()}
	}
	if !d.at.IsZero() {
		c.Time = func() time.Time { return d.at }
	}
	return c
}

// dialer connects to a peer's port.
type dialer func(context.Context) (net.Conn, error)

// look makes the three connections to a peer.
func (p peer) look(ctx context.Context, dial dialer, d dialing) (looked Peer, err error) {
	looked = p.connect(ctx, dial, d.config(p.name))
	if looked.Plain, err = p.refusal(ctx, dial, nil); err != nil {
		return looked, err
	}
	looked.Bare, err = p.refusal(ctx, dial, dialing{trusted: d.trusted, at: d.at}.config(p.name))
	return looked, err
}

// forward opens the peer's port for a while.
func (p peer) forward(ctx context.Context, env *runner.Environment, use func(dialer) error) error {
	local, stop, err := env.Kube.Forward(ctx, env.Namespace, p.pod, p.port)
	if err != nil {
		return err
	}
	defer stop()
	return use(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(local)))
	})
}

// connect makes one connection with TLS.
func (p peer) connect(ctx context.Context, dial dialer, c *tls.Config) Peer {
	made := Peer{Pod: p.pod, Proxy: p.proxy}
	err := greeted(ctx, dial, func(ctx context.Context, raw net.Conn) (net.Conn, error) {
		own := c.Certificates
		c.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			made.Asked = slices.Clone(request.AcceptableCAs)
			if len(own) == 0 {
				return &tls.Certificate{}, nil
			}
			return &own[0], nil
		}
		conn := tls.Client(raw, c)
		if err := conn.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		state := conn.ConnectionState()
		made.Version, made.Protocol, made.Serial = tls.VersionName(state.Version), state.NegotiatedProtocol, pki.Serial(state.PeerCertificates[0])
		return conn, nil
	})
	if err != nil {
		made.Failed = err.Error()
	}
	return made
}

// refusal says how a peer refuses a connection without TLS, or with what the settings leave
// out, "" if it accepts. The error is that it could not be asked.
func (p peer) refusal(ctx context.Context, dial dialer, c *tls.Config) (string, error) {
	secure := func(_ context.Context, raw net.Conn) (net.Conn, error) { return raw, nil }
	if c != nil {
		secure = func(ctx context.Context, raw net.Conn) (net.Conn, error) {
			conn := tls.Client(raw, c)
			return conn, conn.HandshakeContext(ctx)
		}
	}
	err := greeted(ctx, dial, secure)
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil:
		return err.Error(), nil
	}
	return "", nil
}

// greeted makes a connection and returns nil when the other side has begun to speak HTTP/2.
// With TLS 1.3 only that shows that it accepts the client's certificate, too.
func greeted(ctx context.Context, dial dialer, secure func(context.Context, net.Conn) (net.Conn, error)) error {
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	raw, err := dial(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	if deadline, set := ctx.Deadline(); set {
		if err := raw.SetDeadline(deadline); err != nil {
			return err
		}
	}
	conn, err := secure(ctx, raw)
	if err != nil {
		return err
	}
	return greet(conn)
}

// HTTP/2 begins with this text and a frame of settings, which may be empty, on both sides
// (RFC 9113, section 3.4).
const (
	preface      = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeader  = 9
	settingsType = 4
)

func greet(conn io.ReadWriter) error {
	hello := append([]byte(preface), make([]byte, frameHeader)...)
	hello[len(preface)+3] = settingsType
	_, sent := conn.Write(hello)
	header := make([]byte, frameHeader)
	if _, err := io.ReadFull(conn, header); err != nil {
		return err // what the other side says of why tells more than that it does not listen
	}
	if length := binary.BigEndian.Uint32(header) >> 8; header[3] != settingsType || length%6 != 0 {
		return fmt.Errorf("it answered % x, expected the settings of HTTP/2", header)
	}
	return sent
}
