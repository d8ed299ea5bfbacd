package tlsfiles

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/credentials/tls/certprovider"
	"google.golang.org/grpc/credentials/tls/certprovider/pemfile"
)

const (
	// refresh is how often the files are read: three short reads from memory. The kubelet
	// takes up to about a minute and a half to write a changed Secret.
	refresh = time.Second
	// firstRead bounds the wait for files that were whole a moment ago.
	firstRead = 5 * time.Second
)

// The messages of the log about the files of a side.
const (
	// MsgInUse comes with the serial number, in hexadecimal, of the certificate that the side
	// shows from then on.
	MsgInUse = "certificate in use"
	// MsgBad comes with the error. A certificate that is whole, but not valid now, is in use
	// all the same: pemfile asks for no dates.
	MsgBad = "the certificate files are bad; a pair that is not whole is not taken into use"
)

// source follows the files of one side.
type source struct {
	files    files
	provider certprovider.Provider
	log      *slog.Logger
	stop     context.CancelFunc
	done     sync.WaitGroup
}

// open returns a source that has read the files, or what is wrong with them.
func open(f files, every time.Duration, log *slog.Logger) (*source, error) {
	if err := f.load(time.Now()); err != nil {
		return nil, err
	}
	provider, err := pemfile.NewProvider(pemfile.Options{
		CertFile: f.cert.path, KeyFile: f.key.path, RootFile: f.ca.path, RefreshDuration: every,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), firstRead)
	defer cancel()
	if _, err := provider.KeyMaterial(ctx); err != nil {
		provider.Close()
		return nil, fmt.Errorf("%v, %v, %v: expected whole files within %v: %w", f.cert, f.key, f.ca, firstRead, err)
	}
	s := &source{files: f, provider: provider, log: log}
	ctx, s.stop = context.WithCancel(context.Background())
	s.done.Go(func() { s.watch(ctx, every) })
	return s, nil
}

func (s *source) close() {
	s.stop()
	s.done.Wait()
	s.provider.Close()
}

// watch logs which certificate is in use, and what is wrong with the files: the provider
// keeps quiet about both. A fault that is gone at the next look is one of files that were
// being replaced.
func (s *source) watch(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var inUse *x509.Certificate
	var seen, told string // faults
	for {
		if leaf := s.leaf(ctx); leaf != nil && !leaf.Equal(inUse) {
			inUse = leaf
			s.log.Info(MsgInUse, "subject", leaf.Subject.String(), "dns_names", leaf.DNSNames,
				"serial", leaf.SerialNumber.Text(16), "not_before", leaf.NotBefore, "not_after", leaf.NotAfter)
		}
		fault := ""
		if err := s.files.load(time.Now()); err != nil {
			fault = err.Error()
		}
		if fault == seen && fault != told {
			told = fault
			if fault == "" {
				s.log.Info("the certificate files are whole and valid again")
			} else {
				s.log.Error(MsgBad, "error", fault)
			}
		}
		seen = fault
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// leaf returns the own certificate that is in use, nil for none.
func (s *source) leaf(ctx context.Context) *x509.Certificate {
	material, err := s.provider.KeyMaterial(ctx)
	if err != nil || len(material.Certs) == 0 {
		return nil
	}
	return material.Certs[0].Leaf
}
