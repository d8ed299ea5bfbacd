package tlsfiles_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/credentials/tls/certprovider/pemfile"

	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles"
	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles/tlstest"
)

// Who may not call is told why, within a second: a client that trusts another CA, or
// expects another name, and clients that the server refuses.
func TestHandshake_Refusals(t *testing.T) {
	ca, other := tlstest.NewCA(t, "ca"), tlstest.NewCA(t, "other ca")
	addr, _ := serve(t, tlstest.Mount(t, ca.Issue(t, nil, name), ca.PEM), new(syncedLog))
	own, foreign := ca.Issue(t, nil, "client"), other.Issue(t, nil, "client")
	for _, tc := range []struct {
		name  string
		creds credentials.TransportCredentials
		want  string
	}{
		{"wrong_ca", credentialsOf(t, "--tls-ca="+tlstest.Mount(t, own, other.PEM).Path("ca.crt"), "--tls-server-name="+name),
			"x509: certificate signed by unknown authority"},
		{"wrong_name", credentialsOf(t, append(mutual(tlstest.Mount(t, own, ca.PEM), "tls-ca"), "--tls-server-name=shop")...),
			"x509: certificate is valid for echo-server, not shop"},
		{"no_certificate", credentialsOf(t, "--tls-ca="+tlstest.Mount(t, own, ca.PEM).Path("ca.crt"), "--tls-server-name="+name),
			"remote error: tls: certificate required"},
		{"certificate_of_another_ca", credentialsOf(t, append(mutual(tlstest.Mount(t, foreign, ca.PEM), "tls-ca"), "--tls-server-name="+name)...),
			"remote error: tls: unknown certificate authority"},
		{"no_tls", insecure.NewCredentials(), "error reading server preface: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var err error
			for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
				began := time.Now()
				_, err = call(tc.creds, addr)
				if took := time.Since(began); took > time.Second {
					t.Errorf("the call failed after %v, want 1 s at most", took)
				}
				// In TLS 1.3 a client's handshake ends before the server has judged it. The
				// reset of the connection can then overtake the reason.
				if err == nil || !strings.Contains(err.Error(), "connection reset by peer") && !strings.Contains(err.Error(), "broken pipe") {
					break
				}
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("call = %v, want %q", err, tc.want)
			}
		})
	}
}

// Who does not offer the protocol h2 by ALPN, or TLS 1.3, is refused by either side.
func TestHandshake_Demands(t *testing.T) {
	ca := tlstest.NewCA(t, "ca")
	pair := ca.Issue(t, nil, name)
	secret := tlstest.Mount(t, pair, ca.PEM)
	addr, _ := serve(t, secret, new(syncedLog))
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM)
	peer := func(change func(*tls.Config)) *tls.Config {
		c := &tls.Config{RootCAs: roots, ServerName: name, Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}
		change(c)
		return c
	}
	for _, tc := range []struct {
		name   string
		peer   *tls.Config
		client string // what a client of the flags says of such a server
		ok     bool
	}{
		{name: "h2", peer: peer(func(*tls.Config) {}), ok: true},
		{name: "no_alpn", peer: peer(func(c *tls.Config) { c.NextProtos = nil }), client: "missing selected ALPN property"},
		{name: "http_1", peer: peer(func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }), client: "tls: no application protocol"},
		{name: "tls_1_2", peer: peer(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), client: "tls: protocol version not supported"},
	} {
		t.Run(tc.name+"/client", func(t *testing.T) {
			conn, err := tls.Dial("tcp", addr, tc.peer)
			if err == nil {
				defer conn.Close()
				_, err = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
			}
			if err == nil {
				_ = conn.SetReadDeadline(time.Now().Add(patience))
				_, err = io.ReadFull(conn, make([]byte, 9)) // the server's settings
			}
			if timeout := net.Error(nil); (err == nil) != tc.ok || errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("the server's settings: %v, want them: %v", err, tc.ok)
			}
		})
		t.Run(tc.name+"/server", func(t *testing.T) {
			lis, err := tls.Listen("tcp", "127.0.0.1:0", tc.peer)
			if err != nil {
				t.Fatal(err)
			}
			defer lis.Close()
			go func() {
				for {
					conn, err := lis.Accept()
					if err != nil {
						return
					}
					_ = conn.(*tls.Conn).Handshake()
					_ = conn.Close()
				}
			}()
			_, err = call(credentialsOf(t, append(mutual(secret, "tls-ca"), "--tls-server-name="+name)...), lis.Addr().String())
			if tc.ok {
				// The handshake is all that this server does.
				if err != nil && strings.Contains(err.Error(), "handshake") {
					t.Errorf("call = %v, want a handshake", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.client) {
				t.Errorf("call = %v, want %q", err, tc.client)
			}
		})
	}
}

// asLogger names the directory of a mismatched pair for a process that logs it.
const asLogger = "TLSFILES_LOG"

func logMismatch() {
	tlsfiles.WithholdKeys(os.Getenv, os.Stderr)
	dir := os.Getenv(asLogger)
	provider, err := pemfile.NewProvider(pemfile.Options{CertFile: dir + "/tls.crt", KeyFile: dir + "/tls.key", RefreshDuration: often})
	if err != nil {
		panic(err)
	}
	time.Sleep(100 * often)
	provider.Close()
}

// grpc-go's log does not tell a private key that fits no certificate, but that it
// withholds it, and other messages.
func TestWithholdKeys(t *testing.T) {
	ca := tlstest.NewCA(t, "ca")
	key := ca.Issue(t, nil, name).Key
	secret := tlstest.Mount(t, tlstest.Pair{Cert: ca.Issue(t, nil, name).Cert, Key: key}, nil)
	for _, level := range []string{"info", "WARNING"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), asLogger+"="+strings.TrimSuffix(secret.Path(""), "/"), "GRPC_GO_LOG_SEVERITY_LEVEL="+level)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		inner := bytes.Split(bytes.TrimSpace(key), []byte("\n"))[1]
		if !bytes.Contains(out, []byte("about a private key is left out")) || bytes.Contains(out, inner) {
			t.Errorf("level %s: output %q, want that a message is left out", level, out)
		}
	}
}
