package kubeconfig_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/kubeconfig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const twoContexts = `{
	"apiVersion": "v1", "kind": "Config", "current-context": "shop",
	"clusters": [{"name": "c", "cluster": {"server": "https://SERVER", "certificate-authority-data": "CA"}}],
	"users": [{"name": "u", "user": {"token": "secret"}}, {"name": "lost", "user": {"tokenFile": "/nonexistent/token"}}],
	"contexts": [
		{"name": "shop", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
		{"name": "plain", "context": {"cluster": "c", "user": "u"}},
		{"name": "lost", "context": {"cluster": "c", "user": "lost"}},
		{"name": "dangling", "context": {"cluster": "gone", "user": "u"}}
	]
}`

// fill returns a kubeconfig for a server.
func fill(addr string, ca *x509.Certificate) string {
	encoded := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
	return strings.NewReplacer("SERVER", addr, "CA", encoded).Replace(twoContexts)
}

func write(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startServer returns a kubeconfig for a server that refuses, and what it was asked.
func startServer(t *testing.T) (path string, asked <-chan string) {
	t.Helper()
	requests := make(chan string, 100)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.Header.Get("Authorization") + " " + r.URL.Path
		w.WriteHeader(http.StatusForbidden)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return write(t, fill(server.Listener.Addr().String(), server.Certificate())), requests
}

// Tests that the current or the chosen context of the file is used, with its
// namespace, server and token.
func TestNewClient(t *testing.T) {
	tests := []struct {
		name, context string
		environment   bool
		want          string
	}{
		{name: "current", want: "shop"},
		{name: "chosen", context: "plain", want: "default"},
		{name: "environment", environment: true, want: "shop"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path, asked := startServer(t)
			t.Setenv("KUBECONFIG", "")
			if test.environment {
				t.Setenv("KUBECONFIG", path)
				path = ""
			}
			client, namespace, err := kubeconfig.NewClient(path, test.context)
			if err != nil || namespace != test.want {
				t.Fatalf("NewClient() = %q, %v, want the namespace %q", namespace, err, test.want)
			}
			defer client.Close()
			builder := k8sresolver.NewBuilder(client, k8sresolver.WithDefaultNamespace(namespace), k8sresolver.WithLogger(slog.New(slog.DiscardHandler)))
			conn, err := grpc.NewClient("k8s:///echo", grpc.WithResolvers(builder), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			conn.Connect()
			want := "Bearer secret /apis/discovery.k8s.io/v1/namespaces/" + test.want + "/endpointslices"
			select {
			case got := <-asked:
				if got != want {
					t.Errorf("the API server was asked %q, want %q", got, want)
				}
			case <-time.After(10 * time.Second):
				t.Error("the API server was not asked")
			}
		})
	}
}

// Tests that each kubeconfig that cannot work is refused, with the reason and what
// there is instead.
func TestNewClient_Refused(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	server.Close()
	two := fill("127.0.0.1:1", server.Certificate())
	noCurrent := strings.Replace(two, `"current-context": "shop"`, `"current-context": ""`, 1)
	tests := []struct {
		name, path, context string
		want                string
	}{
		{name: "no_file", path: filepath.Join(t.TempDir(), "none"), want: "no such file"},
		{name: "no_context", path: write(t, `{"apiVersion": "v1", "kind": "Config"}`), want: "there is no context"},
		{name: "no_current_context", path: write(t, noCurrent), want: `there is no current context; choose one of ["dangling" "lost" "plain" "shop"]`},
		{name: "unknown_context", path: write(t, two), context: "nope", want: `there is no context "nope", only ["dangling"`},
		{name: "unknown_cluster", path: write(t, two), context: "dangling", want: `context "dangling": `},
		{name: "unreadable_token", path: write(t, two), context: "lost", want: "/nonexistent/token"},
		{name: "not_yaml", path: write(t, "\t{"), want: "kubeconfig: reading"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", "")
			_, _, err := kubeconfig.NewClient(test.path, test.context)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("NewClient() error = %v, want it to contain %q", err, test.want)
			}
		})
	}
}
