// Command echo-client-xds is echo-client for targets that an xDS server knows,
// xds:///name:port, in place of those of the Kubernetes resolver. The server
// says which endpoints there are and how to balance over them.
//
// Flags, output and exit codes are echo-client's.
package main

import (
	"os"

	"google.golang.org/grpc/credentials"
	xdscredentials "google.golang.org/grpc/credentials/xds"
	_ "google.golang.org/grpc/xds" // 8 MiB, which is why this is a program of its own

	"github.com/grpc-lb/grpc-lb/apps/internal/client"
)

var program = client.Program{
	Name:      "echo-client-xds",
	Target:    "xds:///name:port (the xDS server says how to balance, no --lb-policy)",
	Resolvers: resolvers,
	// The xDS server can tell the client to use TLS, and which certificates; then a mesh's
	// mTLS works. If it says nothing, the others are used.
	Credentials: func(others credentials.TransportCredentials) (credentials.TransportCredentials, error) {
		return xdscredentials.NewClientCredentials(xdscredentials.ClientOptions{FallbackCreds: others})
	},
}

func main() { os.Exit(client.Main(program)) }
