package k8sresolver_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// listModules returns how many modules a program's go.mod resolves to, itself left
// out, when it requires the packages that it imports at this module's versions.
func listModules(t *testing.T, source string) int {
	t.Helper()
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	version := func(module string) string {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Path}}@{{.Version}}", module)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	run("mod", "init", "example.com/client")
	run("mod", "edit", "-go=1.26.0", "-require="+version("google.golang.org/grpc"), "-require="+version("k8s.io/client-go"), "-require="+version("k8s.io/apimachinery"))
	if strings.Contains(source, "k8sresolver") {
		const path = "github.com/grpc-lb/grpc-lb/apps/k8sresolver"
		run("mod", "edit", "-require="+path+"@v0.0.0", "-replace="+path+"="+here)
	}
	run("mod", "tidy")
	return len(strings.Split(run("list", "-m", "all"), "\n")) - 1
}

// Tests that a program which imports the resolver follows the versions of at most a
// tenth more modules than one that imports gRPC and client-go alone.
func TestModules(t *testing.T) {
	alone := listModules(t, `package main

import (
	_ "google.golang.org/grpc"
	_ "k8s.io/client-go/rest"
	_ "k8s.io/client-go/tools/cache"
)

func main() {}
`)
	with := listModules(t, `package main

import (
	_ "google.golang.org/grpc"

	_ "github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	_ "github.com/grpc-lb/grpc-lb/apps/k8sresolver/kubeconfig"
)

func main() {}
`)
	t.Logf("%d modules with the resolver, %d with gRPC and client-go alone", with, alone)
	if limit := alone + alone/10; with > limit {
		t.Errorf("a program that imports the resolver lists %d modules, want at most %d: those of gRPC and client-go are %d", with, limit, alone)
	}
}
