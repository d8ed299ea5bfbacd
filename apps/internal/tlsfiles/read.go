package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"
)

// content is what the files hold.
type content struct{ cert, key, ca string }

// load reads the files and tells what is wrong with them now, by the flag that names the
// file. While the files are being replaced, it reads them again.
func (f *files) load(now time.Time) error {
	read, err := f.read()
	for {
		if err == nil {
			err = f.verify(read, now)
		}
		again, readErr := f.read()
		if err == nil || again == read {
			return err
		}
		read, err = again, readErr
	}
}

func (f *files) read() (content, error) {
	var c content
	for _, one := range []struct {
		file file
		into *string
		what string
	}{{f.cert, &c.cert, "a certificate"}, {f.key, &c.key, "a private key"}, {f.ca, &c.ca, "the certificate of a CA"}} {
		if one.file.path == "" {
			continue
		}
		b, err := os.ReadFile(one.file.path)
		if err != nil {
			return c, fmt.Errorf("%v: expected %s in PEM: %w; is the Secret there, and mounted?", one.file, one.what, err)
		}
		*one.into = string(b)
	}
	return c, nil
}

func (f *files) verify(c content, now time.Time) error {
	if f.ca.path != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.ca)) {
		return fmt.Errorf("%v: expected the certificate of a CA in PEM, found none in its %d bytes", f.ca, len(c.ca))
	}
	if f.cert.path == "" {
		return nil
	}
	pair, err := tls.X509KeyPair([]byte(c.cert), []byte(c.key))
	if err != nil {
		return fmt.Errorf("%v and %v: expected a certificate and its private key, each whole and in PEM: %w", f.cert, f.key, err)
	}
	if leaf := pair.Leaf; now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("%v: expected a certificate that is valid now, %s, but it is valid from %s to %s; renew it, or correct the clock",
			f.cert, stamp(now), stamp(leaf.NotBefore), stamp(leaf.NotAfter))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
