package tlsfiles_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles"
	"github.com/grpc-lb/grpc-lb/apps/internal/tlsfiles/tlstest"
)

type side interface {
	AddFlags(*pflag.FlagSet)
	FromEnv(*pflag.FlagSet, func(string) string) error
	Validate() error
	On() bool
}

// Flags that miss their other half are refused, by flags and by variables; the error names
// flag, variable, value and what was expected.
func TestFlags(t *testing.T) {
	for _, tc := range []struct {
		name, args string
		env        map[string]string
		side       side
		on         bool
		want       string
	}{
		{name: "server_without_tls", side: new(tlsfiles.Server)},
		{name: "server", side: new(tlsfiles.Server), args: "--tls-cert=/tls/tls.crt --tls-key=/tls/tls.key", on: true},
		{name: "server_by_variables", side: new(tlsfiles.Server), env: map[string]string{"TLS_CERT": "/tls/tls.crt", "TLS_KEY": "/tls/tls.key", "TLS_CLIENT_CA": "/tls/ca.crt"}, on: true},
		{name: "flag_wins", side: new(tlsfiles.Server), args: "--tls-cert= --tls-key=", env: map[string]string{"TLS_CERT": "/tls/tls.crt", "TLS_KEY": "/tls/tls.key"}},
		{name: "certificate_alone", side: new(tlsfiles.Server), args: "--tls-cert=/tls/tls.crt", on: true,
			want: `--tls-cert (TLS_CERT) "/tls/tls.crt" without --tls-key: expected the certificate's private key too`},
		{name: "key_alone", side: new(tlsfiles.Server), env: map[string]string{"TLS_KEY": "/tls/tls.key"},
			want: `--tls-key (TLS_KEY) "/tls/tls.key" without --tls-cert: expected the key's certificate too`},
		{name: "client_ca_alone", side: new(tlsfiles.Server), args: "--tls-client-ca=/tls/ca.crt",
			want: `--tls-client-ca (TLS_CLIENT_CA) "/tls/ca.crt" without --tls-cert: expected the server's own certificate too`},
		{name: "two_directories", side: new(tlsfiles.Server), args: "--tls-cert=/a/tls.crt --tls-key=/b/tls.key", on: true,
			want: `--tls-cert (TLS_CERT) "/a/tls.crt" and --tls-key (TLS_KEY) "/b/tls.key": expected two files of one directory`},
		{name: "client_without_tls", side: new(tlsfiles.Client)},
		{name: "client", side: new(tlsfiles.Client), env: map[string]string{"TLS_CA": "/tls/ca.crt", "TLS_SERVER_NAME": "x"}, on: true},
		{name: "client_key_alone", side: new(tlsfiles.Client), args: "--tls-ca=/tls/ca.crt --tls-key=/tls/tls.key", on: true,
			want: `--tls-key (TLS_KEY) "/tls/tls.key" without --tls-cert`},
		{name: "client_certificate_without_ca", side: new(tlsfiles.Client), args: "--tls-cert=/tls/tls.crt --tls-key=/tls/tls.key",
			want: `--tls-cert (TLS_CERT) "/tls/tls.crt" without --tls-ca: expected the CA of servers too`},
		{name: "server_name_without_ca", side: new(tlsfiles.Client), args: "--tls-server-name=x",
			want: `--tls-server-name (TLS_SERVER_NAME) "x" without --tls-ca: expected the CA of servers too`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
			tc.side.AddFlags(fs)
			if err := fs.Parse(strings.Fields(tc.args)); err != nil {
				t.Fatal(err)
			}
			if err := tc.side.FromEnv(fs, func(name string) string { return tc.env[name] }); err != nil {
				t.Fatal(err)
			}
			if tc.side.On() != tc.on {
				t.Errorf("On() = %v, want %v", tc.side.On(), tc.on)
			}
			err := tc.side.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Validate() = %v, want %q", err, tc.want)
			}
		})
	}
}

// What is wrong with the files at the start is told, by the flag of the file.
func TestStart(t *testing.T) {
	ca := tlstest.NewCA(t, "ca")
	good := ca.Issue(t, nil, name)
	at := func(from, to time.Duration) tlstest.Pair {
		return ca.Issue(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }, name)
	}
	for _, tc := range []struct {
		name string
		pair tlstest.Pair
		ca   []byte
		want []string
	}{
		{"certificate_missing", tlstest.Pair{Key: good.Key}, ca.PEM, []string{`--tls-cert (TLS_CERT) "`, `expected a certificate in PEM: open `, `no such file or directory; is the Secret there, and mounted?`}},
		{"key_missing", tlstest.Pair{Cert: good.Cert}, ca.PEM, []string{`--tls-key (TLS_KEY) "`, "expected a private key in PEM: open "}},
		{"ca_missing", good, nil, []string{`--tls-client-ca (TLS_CLIENT_CA) "`, "expected the certificate of a CA in PEM: open "}},
		{"empty", tlstest.Pair{Cert: []byte{}, Key: []byte{}}, ca.PEM, []string{"expected a certificate and its private key, each whole and in PEM: tls: failed to find any PEM data in certificate input"}},
		{"half_a_key", tlstest.Pair{Cert: good.Cert, Key: good.Key[:100]}, ca.PEM, []string{"failed to find any PEM data in key input"}},
		{"swapped_key", tlstest.Pair{Cert: good.Cert, Key: ca.Issue(t, nil).Key}, ca.PEM, []string{"tls: private key does not match public key"}},
		{"half_a_ca", good, ca.PEM[:100], []string{`--tls-client-ca (TLS_CLIENT_CA) "`, "expected the certificate of a CA in PEM, found none in its 100 bytes"}},
		{"not_yet_valid", at(time.Hour, 2*time.Hour), ca.PEM, []string{"expected a certificate that is valid now, ", "but it is valid from ", "renew it, or correct the clock"}},
		{"expired", at(-2*time.Hour, -time.Hour), ca.PEM, []string{"expected a certificate that is valid now, "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			secret := tlstest.Mount(t, tc.pair, tc.ca)
			_, _, err := serverOf(t, mutual(secret, "tls-client-ca")...).Credentials(new(syncedLog).logger())
			if err == nil {
				t.Fatal("Credentials() = nil, want an error")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Credentials() = %v, want %q", err, want)
				}
			}
		})
	}
}
