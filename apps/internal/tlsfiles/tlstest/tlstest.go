// Package tlstest makes certificates for tests, and mounts them as the kubelet does.
package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA signs certificates.
type CA struct {
	PEM []byte

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA returns a CA with a key of its own.
func NewCA(t *testing.T, name string) *CA {
	t.Helper()
	ca := &CA{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ca.PEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return ca
}

// Pair is a certificate and its key in PEM.
type Pair struct {
	Cert, Key []byte
	Serial    string // hexadecimal
}

// Issue returns a pair for servers and clients that is valid for an hour and has the DNS
// names, as long as change, which may be nil, leaves it so.
func (ca *CA) Issue(t *testing.T, change func(*x509.Certificate), names ...string) Pair {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "echo"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{
		Cert:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		Serial: template.SerialNumber.Text(16),
	}
}

// Secret is a directory that the kubelet has mounted a Secret at: its files are links
// through the link ..data, which a rename replaces.
type Secret struct {
	dir     string
	written int
}

// Mount mounts a Secret in cert-manager's layout.
func Mount(t *testing.T, pair Pair, ca []byte) *Secret {
	t.Helper()
	s := &Secret{dir: t.TempDir()}
	s.Update(t, pair, ca)
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		if err := os.Symlink(filepath.Join("..data", name), s.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Path returns the path of a file of the Secret.
func (s *Secret) Path(name string) string { return filepath.Join(s.dir, name) }

// Update replaces all files at once. A file without content is absent.
func (s *Secret) Update(t *testing.T, pair Pair, ca []byte) {
	t.Helper()
	s.written++
	version := fmt.Sprintf("..%d", s.written)
	if err := os.Mkdir(s.Path(version), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key, "ca.crt": ca} {
		if content == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(s.Path(version), name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(version, s.Path("..data_tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.Path("..data_tmp"), s.Path("..data")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.Path(fmt.Sprintf("..%d", s.written-1))); err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t *testing.T) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
