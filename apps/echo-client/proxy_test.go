package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/internal/client"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// asProgram makes the test's binary be the program, or gRPC's defaults: the environment's
// proxy is read once a process.
const asProgram = "ECHO_CLIENT_AS"

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "":
		os.Exit(m.Run())
	case "program":
		os.Exit(client.Main(program))
	default:
		if err := callByDefault(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// callByDefault makes a call with what gRPC does by itself.
func callByDefault(target string) error {
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	_, err = echopb.NewEchoServiceClient(conn).Echo(context.Background(), &echopb.EchoRequest{})
	return errors.Join(err, conn.Close())
}

// proxy is an HTTP proxy that refuses to connect, and tells whereto it was asked.
type proxy struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func startProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked = append(p.asked, r.Method+" "+r.Host)
		http.Error(w, "not through here", http.StatusForbidden)
	}))
	t.Cleanup(p.Close)
	return p
}

// run runs the test's binary with this proxy in its environment.
func (p *proxy) run(t *testing.T, as, kubeconfig string, args ...string) (output string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"="+as, "HTTPS_PROXY="+p.URL, "https_proxy=", "NO_PROXY=", "no_proxy=",
		"KUBECONFIG="+kubeconfig, "KUBERNETES_SERVICE_HOST=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (p *proxy) taken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.asked = nil }()
	return p.asked
}

type echoServer struct {
	echopb.UnimplementedEchoServiceServer
}

func (echoServer) Echo(context.Context, *echopb.EchoRequest) (*echopb.EchoResponse, error) {
	return &echopb.EchoResponse{Pod: "pod"}, nil
}

// serve returns the port of an EchoService on the loopback.
func serve(t *testing.T) int {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	echopb.RegisterEchoServiceServer(server, echoServer{})
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	return lis.Addr().(*net.TCPAddr).Port
}

// serveAPI returns the kubeconfig of a stand-in for an API server, which knows a
// Service "echo" with one pod and lists its slices, but streams no list. The
// kubeconfig has another name for the loopback.
func serveAPI(t *testing.T, address string, port int, loopback string) string {
	t.Helper()
	name, protocol, number, ready := "grpc", corev1.ProtocolTCP, int32(port), true
	list := discoveryv1.EndpointSliceList{
		TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSliceList"},
		ListMeta: metav1.ListMeta{ResourceVersion: "1"},
		Items: []discoveryv1.EndpointSlice{{
			ObjectMeta:  metav1.ObjectMeta{Name: "echo-1", Namespace: "shop", UID: "1", ResourceVersion: "1", Labels: map[string]string{discoveryv1.LabelServiceName: "echo"}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: &name, Protocol: &protocol, Port: &number}},
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		}},
	}
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch query := r.URL.Query(); {
		case query.Get("sendInitialEvents") != "":
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity,
			})
		case query.Get("watch") != "":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			_ = json.NewEncoder(w).Encode(list)
		}
	}))
	t.Cleanup(api.Close)
	kubeconfig := filepath.Join(t.TempDir(), "config")
	content := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"clusters": [{"name": "c", "cluster": {"server": %q, "certificate-authority-data": %q}}],
		"contexts": [{"name": "c", "context": {"cluster": "c"}}]}`, strings.Replace(api.URL, "127.0.0.1", loopback, 1),
		base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})))
	if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// Tests that calls leave the proxy of the environment alone, by which resolver ever the
// address is found, while gRPC by itself asks it. The address is the unspecified one,
// which reaches the loopback, but is not excepted from proxies as that is.
func TestNoProxy(t *testing.T) {
	const address = "0.0.0.0"
	port := serve(t)
	proxy := startProxy(t)
	hostPort := net.JoinHostPort(address, strconv.Itoa(port))
	for _, scheme := range []string{"dns:///", "passthrough:///"} {
		out, err := proxy.run(t, "default", "", scheme+hostPort)
		if got := proxy.taken(); err == nil || !slices.Contains(got, "CONNECT "+hostPort) {
			t.Fatalf("gRPC by itself asked the proxy for %q (%v): the test proves nothing\n%s", got, err, out)
		}
	}

	kubeconfig := serveAPI(t, address, port, "127.0.0.1")
	for _, target := range []string{"dns:///" + hostPort, "passthrough:///" + hostPort, "k8s:///echo.shop:grpc", "k8s:///echo.shop"} {
		out, err := proxy.run(t, "program", kubeconfig, "--target", target, "--count=3", "--wait-for-ready", "--timeout=5s", "--admin=")
		if err != nil { // no call was answered
			t.Errorf("%s: %v\n%s", target, err, out)
		}
		if got := proxy.taken(); len(got) > 0 {
			t.Errorf("%s: the proxy was asked for %q, want nothing", target, got)
		}
	}
}

// Tests that the API server, which may be far away, is asked through the proxy of the
// environment, as the resolver's README says, and that the error names the proxy.
func TestProxy_APIServer(t *testing.T) {
	proxy := startProxy(t)
	kubeconfig := serveAPI(t, "127.0.0.1", 80, "0.0.0.0")
	out, err := proxy.run(t, "program", kubeconfig, "resolve", "--target", "k8s:///echo.shop")
	if got := proxy.taken(); err == nil || len(got) == 0 || !strings.HasPrefix(got[0], "CONNECT 0.0.0.0:") {
		t.Errorf("the proxy was asked for %q (%v), want a connection to the API server", got, err)
	}
	if want := "the way there is the proxy " + strings.TrimPrefix(proxy.URL, "http://"); !strings.Contains(out, want) {
		t.Errorf("output %q, want it to contain %q", out, want)
	}
}
