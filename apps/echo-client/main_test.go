package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/internal/client"
)

// The program knows the Kubernetes resolver's targets and says so; those of xDS
// it leaves to the other program, and says that too.
func TestTargets(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	tests := []struct {
		name, args string
		code       int
		want, not  string // in the output
	}{
		{"help", "--help", client.ExitOK, "k8s:///service[.namespace][:port]", "xds"},
		{"k8s_without_cluster", "--target k8s:///x:grpc", client.ExitFailed, "echo-client: --target \"k8s:///x:grpc\" needs a cluster, but there is neither a pod's service account nor a kubeconfig", "--help"},
		{"xds", "--target xds:///x:8080", client.ExitUsage, `scheme "xds" is unknown here, expected one of dns, passthrough, unix, unix-abstract, k8s (echo-client alone) or xds (echo-client-xds alone)`, "\nFlags"},
		{"resolve_xds", "resolve --target xds:///x:8080", client.ExitUsage, `scheme "xds" is unknown here`, "\nFlags"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if got := program.Run(strings.Fields(tt.args), nil, &out, &out); got != tt.code {
				t.Errorf("exit code %d, want %d", got, tt.code)
			}
			if !strings.Contains(out.String(), tt.want) || strings.Contains(out.String(), tt.not) {
				t.Errorf("output %q, want %q and not %q", out.String(), tt.want, tt.not)
			}
		})
	}
}
