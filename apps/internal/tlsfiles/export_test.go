package tlsfiles

import (
	"context"
	"crypto/x509"
	"log/slog"
	"time"

	"google.golang.org/grpc/credentials"
)

// Followed is what a side makes of its files.
type Followed struct {
	credentials.TransportCredentials
	source *source
}

// Follow is Credentials with another time between two looks at the files.
func (s *Server) Follow(every time.Duration, log *slog.Logger) (*Followed, error) {
	followed, err := open(s.files, every, log)
	if err != nil {
		return nil, err
	}
	return &Followed{followed.server(), followed}, nil
}

// Follow is Credentials with another time between two looks at the files.
func (c *Client) Follow(every time.Duration, log *slog.Logger) (*Followed, error) {
	followed, err := open(c.files, every, log)
	if err != nil {
		return nil, err
	}
	return &Followed{followed.client(c.serverName), followed}, nil
}

// Close ends it.
func (f *Followed) Close() { f.source.close() }

// Shows tells whether the own certificate has the serial number, in hexadecimal.
func (f *Followed) Shows(serial string) bool {
	leaf := f.source.leaf(context.Background())
	return leaf != nil && leaf.SerialNumber.Text(16) == serial
}

// Trusts tells whether the CAs are those in use.
func (f *Followed) Trusts(pem []byte) bool {
	pool := x509.NewCertPool()
	material, err := f.source.provider.KeyMaterial(context.Background())
	return err == nil && pool.AppendCertsFromPEM(pem) && pool.Equal(material.Roots)
}
