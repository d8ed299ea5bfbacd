package tlsfiles

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/grpc-lb/grpc-lb/apps/internal/flagenv"
)

// The flags. Each has an environment variable, as package flagenv names it.
const (
	certFlag       = "tls-cert"
	keyFlag        = "tls-key"
	clientCAFlag   = "tls-client-ca"
	caFlag         = "tls-ca"
	serverNameFlag = "tls-server-name"
)

// file is a PEM file: the flag that names it and its path, "" for none.
type file struct{ flag, path string }

// String names the flag, its variable and its value, for errors.
func (f file) String() string {
	return fmt.Sprintf("--%s (%s) %q", f.flag, flagenv.Name(f.flag), f.path)
}

// files are those of one side of a connection.
type files struct {
	cert, key file // the side's own certificate and its key
	ca        file // of those that sign the other side's certificate
}

func (f *files) addFlags(fs *pflag.FlagSet, cert, ca, caUsage string) {
	for _, flag := range []struct {
		file        *file
		name, usage string
	}{
		{&f.cert, certFlag, cert},
		{&f.key, keyFlag, "PEM file of the private key of --" + certFlag + ", in the same directory"},
		{&f.ca, ca, caUsage},
	} {
		flag.file.flag = flag.name
		fs.StringVar(&flag.file.path, flag.name, "", flag.usage+variable(flag.name))
	}
}

func variable(flag string) string {
	return "; the environment variable " + flagenv.Name(flag) + " sets the default"
}

// check tells which files are missing. A certificate and its key have to be in one
// directory, which Kubernetes replaces as a whole.
func (f *files) check() error {
	switch {
	case f.cert.path != "" && f.key.path == "":
		return fmt.Errorf("%v without --%s: expected the certificate's private key too", f.cert, keyFlag)
	case f.key.path != "" && f.cert.path == "":
		return fmt.Errorf("%v without --%s: expected the key's certificate too", f.key, certFlag)
	case filepath.Dir(f.cert.path) != filepath.Dir(f.key.path):
		return fmt.Errorf("%v and %v: expected two files of one directory, so that they are replaced together", f.cert, f.key)
	}
	return nil
}

// Server names the files of a server. Its zero value is without TLS.
type Server struct{ files }

// AddFlags defines the flags.
func (s *Server) AddFlags(fs *pflag.FlagSet) {
	s.addFlags(fs, "PEM file of the certificate that the server shows, followed by those between it and the CA; it turns TLS on", clientCAFlag,
		"PEM file of the CA of clients; with it the server refuses clients without a certificate of this CA (mTLS)")
}

// FromEnv takes what the command line lacks from the environment.
func (s *Server) FromEnv(fs *pflag.FlagSet, getenv func(string) string) error {
	return flagenv.Apply(fs, getenv, certFlag, keyFlag, clientCAFlag)
}

// On tells whether the server has TLS.
func (s *Server) On() bool { return s.cert.path != "" }

// Validate tells which flags are missing. It does not read the files.
func (s *Server) Validate() error {
	if s.ca.path != "" && s.cert.path == "" && s.key.path == "" {
		return fmt.Errorf("%v without --%s: expected the server's own certificate too", s.ca, certFlag)
	}
	return s.check()
}

// Client names the files of a client. Its zero value is without TLS.
type Client struct {
	files
	serverName string
}

// AddFlags defines the flags.
func (c *Client) AddFlags(fs *pflag.FlagSet) {
	c.addFlags(fs, "PEM file of the certificate that the client shows if the server asks for one (mTLS), followed by those between it and the CA", caFlag,
		"PEM file of the CA of servers; it turns TLS on")
	fs.StringVar(&c.serverName, serverNameFlag, "", "name that the server's certificate must have (default: the name that the target stands for)"+variable(serverNameFlag))
}

// FromEnv takes what the command line lacks from the environment.
func (c *Client) FromEnv(fs *pflag.FlagSet, getenv func(string) string) error {
	return flagenv.Apply(fs, getenv, certFlag, keyFlag, caFlag, serverNameFlag)
}

// On tells whether the client has TLS.
func (c *Client) On() bool { return c.ca.path != "" }

// Validate tells which flags are missing. It does not read the files.
func (c *Client) Validate() error {
	switch {
	case c.ca.path == "" && c.cert.path != "":
		return fmt.Errorf("%v without --%s: expected the CA of servers too, to verify them by", c.cert, caFlag)
	case c.ca.path == "" && c.serverName != "":
		return fmt.Errorf("--%s (%s) %q without --%s: expected the CA of servers too, to verify them by",
			serverNameFlag, flagenv.Name(serverNameFlag), c.serverName, caFlag)
	}
	return c.check()
}
