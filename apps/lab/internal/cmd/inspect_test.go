package main_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// useKubeconfig makes the lab use a kubeconfig with that content.
func useKubeconfig(t *testing.T, content string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
}

// useServer makes the lab use an API server that the handler stands in for: no real one
// refuses everything, or dies at a given request.
func useServer(t *testing.T, handler http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	useKubeconfig(t, fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: here\ncontexts: [{name: here, context: {cluster: here, user: me, namespace: shop}}]\nclusters: [{name: here, cluster: {server: %s}}]\nusers: [{name: me, user: {}}]\n", server.URL))
}

func emptyList(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"kind":"List","apiVersion":"v1","metadata":{},"items":[]}`)
}

// A cluster without gRPC services, or one that shows nothing, is no cluster whose calls
// are balanced.
func TestInspectFindsNothing(t *testing.T) {
	inspect := func(args ...string) call { return call{args: append([]string{"inspect"}, args...)} }
	t.Run("no service", func(t *testing.T) {
		useServer(t, emptyList)
		inspect().wantFailure(t, 4, "no gRPC Service was found in namespace shop: looked for port names grpc*")
		inspect("-A").wantFailure(t, 4, "no gRPC Service was found in any namespace")
		inspect("cart", "-n", "nowhere").wantFailure(t, 2, "no gRPC Service cart in namespace nowhere")
	})
	t.Run("no rights", func(t *testing.T) {
		useServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"no"}`)
		})
		inspect().wantFailure(t, 4, "no gRPC Service was found", "not seen: ", "list services in namespace shop: forbidden", "list pods in namespace shop: forbidden")
	})
	t.Run("a server that dies half-way", func(t *testing.T) {
		var requests atomic.Int32
		useServer(t, func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) > 2 {
				panic(http.ErrAbortHandler)
			}
			emptyList(w, r)
		})
		inspect().wantFailure(t, 3, "inspect: list ", "in namespace shop")
	})
}

func TestInspectRefuses(t *testing.T) {
	useServer(t, emptyList)
	for _, tt := range []struct {
		name string
		args string
		code int
		want string
	}{
		{"no such context", "--context prod", 2, `context "prod"`},
		{"two scopes", "-n shop -A", 2, "namespace"},
		{"another output", "-o xml", 2, `--output "xml": expected table, json or yaml`},
		{"a time before now", "--for -1s", 2, "--for -1s: expected 0s or more"},
		{"measure everything", "--measure", 2, "name the services"},
		{"an image for nothing", "cart --image a:b", 2, "--measure"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			call{args: append([]string{"inspect"}, strings.Fields(tt.args)...)}.wantFailure(t, tt.code, tt.want)
		})
	}
	t.Run("a kubeconfig that is none", func(t *testing.T) {
		useKubeconfig(t, "replicas: [3\n")
		call{args: []string{"inspect"}}.wantFailure(t, 3, "kubeconfig")
	})
	t.Run("no kubeconfig", func(t *testing.T) {
		t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
		call{args: []string{"inspect"}}.wantFailure(t, 2, "context")
	})
}

// The printed rights are those of reading, and of what --measure does if it is given.
func TestInspectRights(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		writes bool
	}{{nil, false}, {[]string{"--measure"}, true}} {
		code, stdout, stderr := call{args: append([]string{"inspect", "--print-rbac"}, tt.args...)}.run(t)
		if code != 0 || !strings.Contains(stdout, "kind: ClusterRole") || strings.Contains(stdout, "- jobs") != tt.writes || strings.Contains(stdout, "- pods/log") != tt.writes {
			t.Errorf("%q: exit code %d, want the rights, with Jobs: %t\n%s%s", tt.args, code, tt.writes, stdout, stderr)
		}
	}
}
