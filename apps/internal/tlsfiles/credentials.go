package tlsfiles

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"

	"google.golang.org/grpc/credentials"
)

const minVersion = tls.VersionTLS13

// Credentials returns credentials that follow the files until close is called, or what is
// wrong with the files.
func (s *Server) Credentials(log *slog.Logger) (_ credentials.TransportCredentials, closeFiles func(), err error) {
	followed, err := open(s.files, refresh, log)
	if err != nil {
		return nil, nil, err
	}
	return followed.server(), followed.close, nil
}

// Credentials returns credentials that follow the files until close is called, or what is
// wrong with the files.
func (c *Client) Credentials(log *slog.Logger) (_ credentials.TransportCredentials, closeFiles func(), err error) {
	followed, err := open(c.files, refresh, log)
	if err != nil {
		return nil, nil, err
	}
	return followed.client(c.serverName), followed.close, nil
}

func (s *source) server() credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{
		MinVersion: minVersion,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			material, err := s.provider.KeyMaterial(hello.Context())
			if err != nil {
				return nil, err
			}
			config := &tls.Config{
				MinVersion:   minVersion,
				Certificates: material.Certs,
				// A client that resumes a session would not be verified by a CA that has
				// been replaced meanwhile. gRPC's Go clients do not resume any.
				SessionTicketsDisabled: true,
			}
			if material.Roots != nil {
				config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, material.Roots
			}
			return config, nil
		},
	})
}

func (s *source) client(serverName string) credentials.TransportCredentials {
	return &client{TransportCredentials: credentials.NewTLS(&tls.Config{MinVersion: minVersion}), source: s, serverName: serverName}
}

// client takes the material of each handshake from the source: crypto/tls has no hook for
// a client's roots.
type client struct {
	credentials.TransportCredentials
	source     *source
	serverName string
}

func (c *client) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	material, err := c.source.provider.KeyMaterial(ctx)
	if err != nil {
		return nil, nil, err
	}
	config := &tls.Config{MinVersion: minVersion, RootCAs: material.Roots}
	if len(material.Certs) > 0 {
		// The certificate is shown even if the server names other CAs. Else the server
		// would say that there is none, and not what is wrong with this one.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &material.Certs[0], nil }
	}
	return credentials.NewTLS(config).ClientHandshake(ctx, cmp.Or(c.serverName, authority), raw)
}

func (c *client) Clone() credentials.TransportCredentials {
	clone := *c
	return &clone
}
