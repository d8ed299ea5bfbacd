//go:build linux

package builtin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math"
	"math/big"
	"net"
	"time"
)

// MaxPatience bounds the factor by which limits in time are stretched.
const MaxPatience = 100

const (
	handshakes = 8
	// usualTime is what they take on a usual machine, of which the limits in seconds
	// of Kubernetes are five times what it needs.
	usualTime = 10 * time.Millisecond
)

// measure returns how many times slower this machine is than a usual one, at what is
// the most of a control plane's work: TLS handshakes. The best of a few tries counts,
// since other programs disturb.
func measure() (factor float64, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"lab"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return 0, err
	}
	template, err = x509.ParseCertificate(der)
	if err != nil {
		return 0, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(template)
	server := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}
	client := &tls.Config{RootCAs: roots, ServerName: "lab", MinVersion: tls.VersionTLS13}
	best := time.Duration(math.MaxInt64)
	for range 3 {
		start := time.Now()
		for range handshakes {
			if err := handshake(server, client); err != nil {
				return 0, err
			}
		}
		best = min(best, time.Since(start))
	}
	return patience(best), nil
}

// patience is the factor for a machine that needs so long for the handshakes.
func patience(took time.Duration) float64 {
	return min(max(1, math.Round(float64(took)/float64(usualTime))), MaxPatience)
}

func handshake(server, client *tls.Config) error {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	accepted := make(chan error, 1)
	go func() { accepted <- tls.Server(a, server).Handshake() }()
	if err := tls.Client(b, client).Handshake(); err != nil {
		return err
	}
	return <-accepted
}
