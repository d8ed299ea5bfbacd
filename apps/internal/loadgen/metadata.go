package loadgen

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// metadataName is what gRPC takes for a name; a value of a name with -bin is binary.
// Source: gRPC's PROTOCOL-HTTP2.md, Custom-Metadata.
var metadataName = regexp.MustCompile(`^[0-9a-z_.-]+$`)

// checkMetadata reports what cannot be sent with a call.
func checkMetadata(pairs map[string]string) (errs []error) {
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		switch value := pairs[name]; {
		case !metadataName.MatchString(name):
			errs = append(errs, fmt.Errorf("--metadata %s=%s: the name has other characters than 0-9 a-z _ . -", name, value))
		case strings.HasPrefix(name, "grpc-"):
			errs = append(errs, fmt.Errorf("--metadata %s=%s: names that begin with grpc- are gRPC's own", name, value))
		case strings.HasSuffix(name, "-bin"):
			errs = append(errs, fmt.Errorf("--metadata %s=%s: values of names that end with -bin are binary, expected text", name, value))
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }):
			errs = append(errs, fmt.Errorf("--metadata %s=%q: expected printable ASCII", name, value))
		}
	}
	return errs
}

// withMetadata sends the pairs with each call and each stream.
func withMetadata(pairs map[string]string) []grpc.DialOption {
	sent := metadata.New(pairs)
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoker(metadata.NewOutgoingContext(ctx, sent), method, req, reply, conn, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return streamer(metadata.NewOutgoingContext(ctx, sent), desc, conn, method, opts...)
		}),
	}
}
