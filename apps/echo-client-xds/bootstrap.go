package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"google.golang.org/grpc/resolver"

	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
)

// Where gRPC looks for its bootstrap, the first one first.
const (
	bootstrapFile    = "GRPC_XDS_BOOTSTRAP"
	bootstrapContent = "GRPC_XDS_BOOTSTRAP_CONFIG"
)

// resolvers returns none, as gRPC's import has registered the one there is. It
// reports a missing bootstrap, which would else fail each call for itself.
func resolvers(target string, _ *slog.Logger) ([]resolver.Builder, error) {
	if loadgen.Scheme(target) != loadgen.XDS {
		return nil, nil
	}
	if err := checkBootstrap(); err != nil {
		return nil, fmt.Errorf("--target %q: %w", target, err)
	}
	return nil, nil
}

func checkBootstrap() error {
	content, source := []byte(os.Getenv(bootstrapContent)), bootstrapContent
	if file := os.Getenv(bootstrapFile); file != "" {
		var err error
		if content, err = os.ReadFile(file); err != nil {
			return fmt.Errorf("reading the xDS bootstrap that %s names: %w", bootstrapFile, err)
		}
		source = file
	}
	if len(content) == 0 {
		return errors.New("nothing says which xDS server to ask: set " + bootstrapFile + " to the path of a gRPC xDS bootstrap, or " + bootstrapContent + " to its content")
	}
	var bootstrap struct {
		Servers []struct {
			URI string `json:"server_uri"`
		} `json:"xds_servers"`
	}
	if err := json.Unmarshal(content, &bootstrap); err != nil {
		return fmt.Errorf("%s is no xDS bootstrap: %w", source, err)
	}
	if len(bootstrap.Servers) == 0 || bootstrap.Servers[0].URI == "" {
		return fmt.Errorf("%s is no xDS bootstrap: it names no server, expected xds_servers with a server_uri", source)
	}
	return nil
}
