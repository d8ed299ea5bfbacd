// Package tlsfiles makes gRPC credentials of PEM files, and follows the files when they
// are replaced.
//
// google.golang.org/grpc/credentials/tls/certprovider/pemfile reads the files, each
// second: it is what xDS clients read theirs by. It takes a certificate and its key as a
// pair, and keeps the last good ones while the files are broken. The handshake is that of
// google.golang.org/grpc/credentials, which verifies the peer by crypto/tls.
//
// TLS 1.3 is the lowest version. Both sides demand the protocol h2 by ALPN, unless the
// environment variable GRPC_ENFORCE_ALPN_ENABLED is false: grpc-go 1.85 then admits peers
// that name no protocol.
package tlsfiles
