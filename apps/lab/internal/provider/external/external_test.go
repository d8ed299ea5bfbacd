package external_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/cluster"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/external"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kubeconfig writes one with two contexts of the same server.
func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	config := api.NewConfig()
	config.Clusters["c"] = &api.Cluster{Server: server}
	config.AuthInfos["u"] = &api.AuthInfo{}
	for _, name := range []string{"staging", "production"} {
		config.Contexts[name] = &api.Context{Cluster: "c", AuthInfo: "u"}
	}
	file := filepath.Join(t.TempDir(), "config")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// serve answers as an API server does: its version at its date, and no to what
// touches the resources refused. The whole behaviour is tested on a cluster:
// TestExistingCluster.
func serve(t *testing.T, ahead time.Duration, refused string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/version":
			_, _ = io.WriteString(w, `{"gitVersion":"v1.30.1"}`)
		case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
			body, _ := io.ReadAll(r.Body)
			sent, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil) // JSON or protobuf
			review, ok := sent.(*authorizationv1.SelfSubjectAccessReview)
			if err != nil || !ok {
				http.Error(w, fmt.Sprintf("%T, %v", sent, err), http.StatusBadRequest)
				return
			}
			review.Kind, review.APIVersion = "SelfSubjectAccessReview", authorizationv1.SchemeGroupVersion.String()
			review.Status.Allowed = review.Spec.ResourceAttributes.Resource != refused
			answer, _ := json.Marshal(review)
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write(answer)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func connect(t *testing.T, server, context string) (*external.Cluster, error) {
	t.Helper()
	return external.Connect(t.Context(), external.Options{Kubeconfig: kubeconfig(t, server), Context: context})
}

func TestConnect(t *testing.T) {
	c, err := connect(t, serve(t, 0, ""), "staging")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"kubernetes": "v1.30.1"}, c.Versions()); diff != "" || c.Kind() != "external" {
		t.Errorf("%s, versions (-want +got):\n%s", c.Kind(), diff)
	}
	for what, err := range map[string]error{
		"AuditLog":   func() error { _, err := c.AuditLog(t.Context()); return err }(),
		"Usage":      func() error { _, err := c.Usage(t.Context()); return err }(),
		"Kill":       c.Kill(t.Context(), "", ""),
		"CanKill":    c.CanKill(),
		"Break":      func() error { _, err := c.Break(t.Context(), cluster.Fault{Kind: cluster.DNSAway}); return err }(),
		"CanBreak":   c.CanBreak(cluster.LinkDown),
		"LoadImages": c.LoadImages(t.Context()),
	} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s = %v, want ErrUnsupported", what, err)
		}
	}
}

func TestConnectFails(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Unauthorized", http.StatusUnauthorized) }))
	defer refusing.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, test := range []struct {
		name, server, context string
		want                  []string
		noContext             bool
	}{
		{name: "no_such_context", server: "http://127.0.0.1:1", context: "prod", want: []string{`"prod"`, "expected one of production, staging"}, noContext: true},
		{name: "nobody_listens", server: gone.URL, context: "staging", want: []string{`"staging"`, gone.URL, "connection refused"}},
		{name: "unauthorized", server: refusing.URL, context: "staging", want: []string{"401 Unauthorized"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := connect(t, test.server, test.context)
			if err == nil || errors.Is(err, external.ErrNoContext) != test.noContext || strings.Contains(err.Error(), "\n") {
				t.Fatalf("Connect = %v, want one line, no context %v", err, test.noContext)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Connect = %v, want %q", err, want)
				}
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("interrupted by the test"))
		_, err := external.Connect(ctx, external.Options{Kubeconfig: kubeconfig(t, gone.URL), Context: "staging"})
		if err == nil || !strings.Contains(err.Error(), "interrupted by the test") {
			t.Errorf("Connect = %v, want the cause", err)
		}
	})
}

// Everything that stands in the way is said at once.
func TestPreflight(t *testing.T) {
	rights := []kube.Right{{Verb: "create", Resource: "pods", Namespace: "a"}, {Verb: "list", Resource: "nodes"}}
	for _, test := range []struct {
		name, refused string
		ahead         time.Duration
		want          []string
	}{
		{name: "all_is_well"},
		{name: "a_second_is_well", ahead: time.Second},
		{name: "right_and_clock", refused: "nodes", ahead: -time.Hour, want: []string{"may not list nodes:", "--print-rbac", "clock differs", "set the clocks"}},
		{name: "clock", ahead: time.Minute, want: []string{"clock differs"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := connect(t, serve(t, test.ahead, test.refused), "staging")
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Preflight(t.Context(), []string{"a"}, rights)
			if (err == nil) != (len(test.want) == 0) {
				t.Fatalf("Preflight = %v, want %q", err, test.want)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Preflight = %v, want %q", err, want)
				}
			}
		})
	}
}

// Names are free, or were left by the lab, or are refused all at once. The fake
// stands in for an API server.
func TestLeftovers(t *testing.T) {
	made := func(name string, annotations map[string]string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}
	}
	client := &kube.Client{Typed: fake.NewClientset(made("ours", map[string]string{kube.MadeByLab: "1"}), made("theirs", nil), made("theirs-too", map[string]string{kube.MadeByLab: ""}))}
	left, err := external.Leftovers(t.Context(), client, []string{"free", "ours"})
	if diff := cmp.Diff([]string{"ours"}, left); diff != "" || err != nil {
		t.Errorf("error %v, left (-want +got):\n%s", err, diff)
	}
	if _, err := external.Leftovers(t.Context(), client, []string{"free", "theirs", "ours", "theirs-too"}); err == nil || !strings.Contains(err.Error(), "theirs, theirs-too") {
		t.Errorf("Leftovers = %v, want both names of others", err)
	}
}

// The header has whole seconds: what they leave open counts for the clock.
func TestSkew(t *testing.T) {
	at := func(s string) time.Time {
		parsed, err := time.Parse(time.RFC3339Nano, "2026-01-01T00:00:"+s+"Z")
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	const header = "Thu, 01 Jan 2026 00:00:10 GMT"
	for _, test := range []struct {
		name, header, begin, end string
		want                     time.Duration
	}{
		{name: "same_second", header: header, begin: "10.2", end: "10.3"},
		{name: "asked_just_before", header: header, begin: "09.8", end: "10.1"},
		{name: "answered_just_after", header: header, begin: "10.9", end: "11.4"},
		{name: "ahead", header: header, begin: "05", end: "07", want: 3 * time.Second},
		{name: "behind", header: header, begin: "15", end: "16", want: -4 * time.Second},
		{name: "no_header", begin: "15", end: "16"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := external.Skew(test.header, at(test.begin), at(test.end)); got != test.want {
				t.Errorf("Skew = %s, want %s", got, test.want)
			}
		})
	}
}

// A registry that does not answer this machine may answer the nodes; with Push it
// must answer this machine.
func TestLoadImagesUnreachable(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	dir := t.TempDir()
	archive := filepath.Join(dir, "one.tar")
	self, err := filepath.Abs("external.go")
	if err != nil {
		t.Fatal(err)
	}
	if err := image.Pack(archive, image.Image{Ref: "lab.local/one:1", Files: map[string]string{"/one": self}, Entrypoint: []string{"/one"}}); err != nil {
		t.Fatal(err)
	}
	registry, err := image.ParseRegistry("127.0.0.1:1/lab")
	if err != nil {
		t.Fatal(err)
	}
	for _, push := range []bool{false, true} {
		c, err := external.Connect(t.Context(), external.Options{Kubeconfig: kubeconfig(t, serve(t, 0, "")), Context: "staging", Registry: &registry, Push: push})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.LoadImages(t.Context(), archive); (err != nil) != push {
			t.Errorf("LoadImages with push %v = %v, want an error %v", push, err, push)
		}
	}
}
