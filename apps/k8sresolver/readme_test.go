package k8sresolver_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

// failures returns what callers see, each from what makes them see it.
func failures(t *testing.T) []string {
	t.Helper()
	var texts []string
	empty := func(portName string, es ...*discoveryv1.EndpointSlice) {
		_, err := k8sresolver.Join(es, portName, 0)
		texts = append(texts, err.Error())
	}
	p1 := pod("p1", "10.0.0.1", ready)
	empty("grpc", newSlice("a", pod("p1", "10.0.0.1", notReady), pod("p2", "10.0.0.2", notReady), pod("p3", "10.0.0.3", dying)))
	empty("grpc")
	empty("nope", newSlice("a", p1))
	empty("", withPorts(newSlice("a", p1), port("web", 80), port("api", 8081)))
	empty("grpc", withType(newSlice("a", pod("", "one.example.com", ready), pod("", "two.example.com", ready)), discoveryv1.AddressTypeFQDN))

	told := func(cfg *rest.Config) {
		cfg.BearerToken = token("shop:client", "1")
		cc, _ := build(t, cfg, "k8s:///echo-server")
		got := cc.next(t).err
		if strings.Contains(got, silence) {
			texts = append(texts, got) // also of a busy machine
			got = cc.next(t).err
		}
		texts = append(texts, got)
	}
	refused := func(err *apierrors.StatusError) {
		api := newAPIServer()
		api.refuseWith(err)
		told(api.start(t))
	}
	refused(forbidden("list"))
	refused(apierrors.NewUnauthorized("Unauthorized"))
	refused(apierrors.NewTooManyRequests("too many requests, please try again later", 1))
	down := newAPIServer().start(t)
	down.Host = "https://127.0.0.1:1"
	told(down)
	proxied := newAPIServer().start(t)
	proxied.Proxy = refusingProxy(t)
	told(proxied)
	untrusted := newAPIServer().start(t)
	untrusted.CAData = nil
	told(untrusted)
	silent := newAPIServer()
	answer := make(chan struct{})
	time.AfterFunc(2*time.Second, func() { close(answer) })
	silent.refuseIf(func(*http.Request) *apierrors.StatusError { <-answer; return forbidden("list") })
	told(silent.start(t))

	for _, u := range unended {
		synctest.Test(t, func(t *testing.T) {
			api, cfg := twoSlices()
			u.spoil(api)
			cfg.BearerToken = token("shop:client", "1")
			cc, _ := build(t, cfg, "k8s:///echo-server")
			cc.wantError(t, silence)
			texts = append(texts, cc.nextWithin(t, u.after+time.Second).err)
		})
	}

	client := newClient(t, down)
	client.Close()
	for _, name := range []string{"k8s:///Echo", "k8s:///echo"} {
		_, err := k8sresolver.NewBuilder(client).Build(target(name), nil, resolver.BuildOptions{})
		texts = append(texts, err.Error())
	}
	conn, err := grpc.NewClient("k8::///echo", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = call(t, conn)
	return append(texts, status.Convert(err).Message())
}

// refusingProxy starts a proxy that lets nobody through.
func refusingProxy(t *testing.T) func(*http.Request) (*url.URL, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return http.ProxyURL(at)
}

// Tests that the README's table of failures has every text as it is, and no other.
func TestReadme_Failures(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `((?:k8sresolver: |invalid).*?)` \\|").FindAllStringSubmatch(string(readme), -1)
	texts := failures(t)
	used := make([]bool, len(rows))
	for _, text := range texts {
		found := false
		for i, row := range rows {
			pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(row[1]), "…", ".+") + "$"
			if regexp.MustCompile(pattern).MatchString(text) {
				used[i], found = true, true
			}
		}
		if !found {
			t.Errorf("the README lacks\n%s", text)
		}
	}
	for i, row := range rows {
		if !used[i] {
			t.Errorf("nothing says what the README does:\n%s", row[1])
		}
	}
}

// Tests that importing the package brings along neither the Clientset nor anything
// that has no place in a client, nor another package of this module.
func TestDependencies(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	const module = "github.com/grpc-lb/grpc-lb/"
	for dep := range strings.Lines(string(out)) {
		for _, unwanted := range []string{
			"k8s.io/client-go/kubernetes", "k8s.io/client-go/informers", "k8s.io/client-go/tools/clientcmd\n",
			"sigs.k8s.io/kustomize", "github.com/google/go-containerregistry", "go.opentelemetry.io/otel/sdk",
			"github.com/prometheus", "github.com/spf13", "google.golang.org/grpc/xds", module,
		} {
			if strings.HasPrefix(dep, unwanted) && dep != module+"apps/k8sresolver\n" {
				t.Errorf("depends on %s", dep)
			}
		}
	}
}
