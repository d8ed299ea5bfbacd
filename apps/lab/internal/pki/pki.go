// Package pki is a certificate authority for as long as a run of the lab. Its keys are in
// memory alone; what pods need is in a Secret of a namespace that the run deletes.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

const (
	// lifetime outlasts every run.
	lifetime = 24 * time.Hour
	// skew is by how much the nodes' clocks may be behind this machine's.
	skew = 5 * time.Minute
)

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority with a key of its own. Its name is the subject of its
// certificate.
func NewAuthority(name string) (*Authority, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, cert, err := sign(template, nil, Valid())
	if err != nil {
		return nil, fmt.Errorf("pki: making the authority %q: %w", name, err)
	}
	return &Authority{cert, key}, nil
}

// PEM returns the authority's certificate.
func (a *Authority) PEM() []byte { return encode("CERTIFICATE", a.cert.Raw) }

// Subject returns the authority's name as a TLS server lists it in a request for the
// client's certificate (RFC 8446, section 4.2.4): the DER of its subject.
func (a *Authority) Subject() []byte { return a.cert.RawSubject }

// Validity is the time in which a certificate holds.
type Validity struct{ From, To time.Time }

// Valid holds now and until after the run.
func Valid() Validity { return Validity{time.Now().Add(-skew), time.Now().Add(lifetime)} }

// Certificate is one for servers and clients, and its key.
type Certificate struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// Issue signs a certificate for DNS names.
func (a *Authority) Issue(v Validity, names ...string) (*Certificate, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "echo"}, DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	key, cert, err := sign(template, a, v)
	if err != nil {
		return nil, fmt.Errorf("pki: issuing a certificate for %v: %w", names, err)
	}
	return &Certificate{cert, key}, nil
}

// CertPEM returns the certificate.
func (c *Certificate) CertPEM() []byte { return encode("CERTIFICATE", c.Raw) }

// KeyPEM returns its key, in PKCS #8.
func (c *Certificate) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return nil, fmt.Errorf("pki: encoding a key: %w", err)
	}
	return encode("PRIVATE KEY", der), nil
}

// Serial returns the certificate's serial number in hexadecimal.
func (c *Certificate) Serial() string { return Serial(c.Certificate) }

// Serial returns a certificate's serial number in hexadecimal.
func Serial(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

// TLS returns the certificate as crypto/tls presents it.
func (c *Certificate) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: c.key, Leaf: c.Certificate}
}

// sign makes a key, and a certificate of it that the authority signs; nil signs it with its own.
func sign(template *x509.Certificate, by *Authority, v Validity) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, err
	}
	template.NotBefore, template.NotAfter = v.From, v.To
	parent, parentKey := template, key
	if by != nil {
		parent, parentKey = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return key, cert, err
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
