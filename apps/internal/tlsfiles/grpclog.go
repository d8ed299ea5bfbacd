package tlsfiles

import (
	"bytes"
	"io"
	"strconv"
	"strings"

	"google.golang.org/grpc/grpclog"
)

// WithholdKeys makes grpc-go's log leave out messages with private keys. Package pemfile
// logs a certificate and a key that do not match as a warning, in full, and
// GRPC_GO_LOG_SEVERITY_LEVEL can send warnings to standard error. A program calls it
// before it uses gRPC.
func WithholdKeys(getenv func(string) string, stderr io.Writer) {
	verbosity, _ := strconv.Atoi(getenv("GRPC_GO_LOG_VERBOSITY_LEVEL"))
	out := withoutKeys{stderr}
	switch strings.ToLower(getenv("GRPC_GO_LOG_SEVERITY_LEVEL")) {
	case "info":
		grpclog.SetLoggerV2(grpclog.NewLoggerV2WithVerbosity(out, io.Discard, io.Discard, verbosity))
	case "warning":
		grpclog.SetLoggerV2(grpclog.NewLoggerV2WithVerbosity(io.Discard, out, io.Discard, verbosity))
	}
}

// withoutKeys passes on messages, each of which is one Write.
type withoutKeys struct{ io.Writer }

func (w withoutKeys) Write(message []byte) (int, error) {
	if !bytes.Contains(message, []byte("X509KeyPair(")) && !bytes.Contains(message, []byte("PRIVATE KEY")) {
		return w.Writer.Write(message)
	}
	if _, err := io.WriteString(w.Writer, "WARNING: grpc-go's message about a private key is left out\n"); err != nil {
		return 0, err
	}
	return len(message), nil
}
