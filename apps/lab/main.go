// Command lab compiles the lab, says how far that is, and becomes it. It imports the
// standard library alone, so that `go run ./apps/lab` speaks within seconds.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/become"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/gobuild"
)

const (
	module  = "github.com/grpc-lb/grpc-lb"
	program = "./apps/lab/internal/cmd"
	quiet   = 10 * time.Second // between two lines about the same work
)

var errNoCheckout = errors.New("not in a checkout of " + module)

func main() {
	path, err := build()
	if err == nil {
		err = become.Program(path, os.Args, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "lab: "+err.Error())
	if errors.Is(err, errNoCheckout) {
		os.Exit(2) // wrong usage, as the lab has it
	}
	os.Exit(1)
}

// build returns the path of the program, compiled of this checkout's sources. The go
// command links it anew only where something has changed.
func build() (string, error) {
	root, err := checkout()
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory: %w: set XDG_CACHE_HOME or HOME", err)
	}
	id := sha256.Sum256([]byte(root))
	path := filepath.Join(cache, "grpc-lb", "lab", hex.EncodeToString(id[:4]), "lab")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	_, missing := os.Stat(path)
	// As .ko.yaml has it: most of what is in the images is then compiled, too.
	flags := []string{"-trimpath", "-buildvcs=false", "-tags=grpcnotrace", "-ldflags=-s -w"}
	g := gobuild.Go{Dir: root, Env: []string{"CGO_ENABLED=0"}, Uncounted: missing == nil, Detail: sometimes()}
	if missing != nil {
		fmt.Fprintf(os.Stderr, "lab: compiles itself first, about %d min on %d CPUs; then it says what else it compiles, and what it judges first\n", (5+runtime.NumCPU())/runtime.NumCPU(), runtime.NumCPU())
	}
	err = g.Build(ctx, flags, path, program)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	return path, err
}

// sometimes prints a detail after each while.
func sometimes() func(string) {
	last := time.Now()
	return func(text string) {
		if time.Since(last) >= quiet {
			last = time.Now()
			fmt.Fprintln(os.Stderr, "lab: compiling itself: "+text)
		}
	}
}

// checkout finds the checkout around the working directory.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		content, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if first, _, _ := bytes.Cut(content, []byte("\n")); err == nil && strings.TrimSpace(string(first)) == "module "+module {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is %w: clone it and run this inside the clone", dir, errNoCheckout)
		}
	}
}
