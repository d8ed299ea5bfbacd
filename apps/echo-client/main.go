// Command echo-client calls EchoService and logs who answered.
//
// It exits with 0 when it was stopped or reached --duration, --count or
// --fresh-connections: failed calls are a measurement, and the summary counts
// them. It exits with 1 when calls were made and none was answered, when a name
// cannot be resolved, when it cannot work at all or when a second signal stopped
// it at once, and with 2 when its flags are wrong.
package main

import (
	"os"

	"github.com/grpc-lb/grpc-lb/apps/internal/client"
)

var program = client.Program{
	Name:      "echo-client",
	Target:    "k8s:///service[.namespace][:port]",
	Resolvers: resolvers,
}

func main() { os.Exit(client.Main(program)) }
