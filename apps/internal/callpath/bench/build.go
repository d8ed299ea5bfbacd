package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime/debug"
)

// The programs under test.
const (
	benchmarkClient = "google.golang.org/grpc/benchmark/client"
	benchmarkServer = "google.golang.org/grpc/benchmark/server"
	ghz             = "github.com/bojand/ghz/cmd/ghz"
	echoClient      = "github.com/grpc-lb/grpc-lb/apps/echo-client"
	echoServer      = "github.com/grpc-lb/grpc-lb/apps/echo-server"
)

// programs are where the programs were built, by package.
type programs map[string]string

// build builds all programs into dir, with the versions that this module's go.mod pins.
func build(ctx context.Context, dir string) (programs, error) {
	built := programs{}
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	for _, p := range []string{benchmarkClient, benchmarkServer, ghz, echoClient, echoServer} {
		built[p] = filepath.Join(dir, filepath.Base(p))
		args = append(args, p)
	}
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the programs, which works in this module's folder alone: %w: %.2000s", err, out)
	}
	return built, nil
}

// version returns the version of a module among those that this one is built with.
func version(ctx context.Context, module string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-json", module).Output()
	if err != nil {
		return "", fmt.Errorf("version of %s: %w", module, err)
	}
	var m debug.Module
	if err := json.Unmarshal(out, &m); err != nil {
		return "", fmt.Errorf("version of %s: %w", module, err)
	}
	return m.Version, nil
}
