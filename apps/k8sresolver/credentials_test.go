package k8sresolver_test

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/resolver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// token returns a service account token as the API server issues them, with a
// signature that means nothing. The id tells tokens of one account apart.
func token(account, id string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"RS256"}`)) + "." + part([]byte(`{"jti":"`+id+`","sub":"system:serviceaccount:`+account+`"}`)) + "." + part([]byte("none"))
}

func tokenFile(t *testing.T, content string) (path string, rewrite func(string)) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "token")
	rewrite = func(content string) {
		if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(content)
	return path, rewrite
}

// accept makes the API server refuse every token but one.
func (s *apiServer) accept(token string) {
	s.refuseIf(func(r *http.Request) *apierrors.StatusError {
		if r.Header.Get("Authorization") != "Bearer "+token {
			return apierrors.NewUnauthorized("Unauthorized")
		}
		return nil
	})
}

// Tests that a token which is rotated while a watch is up is picked up when the old
// one is refused, and that no call notices.
func TestCredentials_RotatedToken(t *testing.T) {
	api := newAPIServer()
	api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
	before, after := token("shop:client", "1"), token("shop:client", "2")
	api.accept(before)
	cfg := api.start(t)
	path, rewrite := tokenFile(t, before)
	cfg.BearerTokenFile = path
	cc, _ := build(t, cfg, "k8s:///echo-server")
	cc.wantEndpoints(t, "10.0.0.1:8080 p1")

	rewrite(after)
	api.accept(after)
	api.cut(true)
	api.set(newSlice("b", pod("p2", "10.0.0.2", ready)))
	cc.wantEndpoints(t, "10.0.0.1:8080 p1", "10.0.0.2:8080 p2")
	cc.wantNothing(t)
}

// Tests that a refused token is told with the account it belongs to, and that a right
// one which is put in its place is picked up.
func TestCredentials_RefusedToken(t *testing.T) {
	api := newAPIServer()
	api.set(newSlice("a", pod("p1", "10.0.0.1", ready)))
	right := token("shop:client", "1")
	api.accept(right)
	cfg := api.start(t)
	path, rewrite := tokenFile(t, token("shop:old-client", "1"))
	cfg.BearerTokenFile = path
	cc, _ := build(t, cfg, "k8s:///echo-server")
	cc.wantError(t, `list endpointslices.discovery.k8s.io of service "echo-server" in namespace "shop" as "system:serviceaccount:shop:old-client": Unauthorized`)
	rewrite(right)
	for got := cc.next(t); len(got.endpoints) == 0; got = cc.next(t) {
		// An attempt with the old token, that read the new one's account.
		if !strings.Contains(got.err, "Unauthorized") {
			t.Fatalf("the resolver told %+v, want the endpoint p1", got)
		}
	}
}

// Tests that a token that cannot be read is refused when the client is made, with
// its path, and that a token that is no JSON Web Token names nobody.
func TestCredentials_Token(t *testing.T) {
	_, err := k8sresolver.NewClient(&rest.Config{Host: "https://api", BearerTokenFile: "/nonexistent/token"})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/token") {
		t.Errorf("NewClient() error = %v, want it to name the token file", err)
	}
	part := base64.RawURLEncoding.EncodeToString
	for raw, want := range map[string]string{
		token("shop:client", "1"):               "system:serviceaccount:shop:client",
		"":                                      "",
		"secret":                                "",
		"a.b.c":                                 "",
		"a." + part([]byte("{")) + ".c":         "",
		"a." + part([]byte(`{"sub":1}`)) + ".c": "",
	} {
		if got := k8sresolver.Subject(raw); got != want {
			t.Errorf("Subject(%q) = %q, want %q", raw, got, want)
		}
	}
}

// Tests that an API server whose certificate the client's CA did not sign, or that
// is for another name, is told as such.
func TestCredentials_Certificate(t *testing.T) {
	cfg := newAPIServer().start(t)
	cfg.CAData = nil
	cc, _ := build(t, cfg, "k8s:///echo-server")
	cc.wantError(t, "no connection to the API server 127.0.0.1:", "certificate signed by unknown authority; the client's CA did not sign the API server's certificate")

	cfg = newAPIServer().start(t)
	cfg.ServerName = "not-in-the-certificate"
	cc, _ = build(t, cfg, "k8s:///echo-server")
	cc.wantError(t, "no connection to the API server 127.0.0.1:", "not not-in-the-certificate")
}

// Tests that a Service with a slice a pod, and far more than a page of a list, is
// whole.
func TestResolver_ThousandSlices(t *testing.T) {
	api := newAPIServer()
	all := deployment(1000, 1)
	api.set(all...)
	cc := newSink()
	r, err := k8sresolver.NewBuilder(newClient(t, api.start(t)), quiet()).Build(target("k8s:///echo-server.shop"), cc, resolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := len((<-cc.updated).Endpoints); got != 1000 {
		t.Errorf("the first set has %d endpoints, want 1000", got)
	}
	for _, es := range all[1:] {
		api.remove(es)
	}
	for s := range cc.updated {
		if len(s.Endpoints) == 1 {
			return
		}
	}
}
