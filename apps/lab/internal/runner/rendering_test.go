package runner_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// deploymentOf is a Deployment with one container.
func deploymentOf(container string, args ...string) *appsv1.Deployment {
	d := &appsv1.Deployment{}
	d.Name = container
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: container, Args: args}}
	return d
}

// A time is the one that the servers were told, in whatever unit, and none where
// they were not told any.
func TestDuration(t *testing.T) {
	for _, test := range []struct {
		name    string
		servers *appsv1.Deployment
		want    time.Duration
		wantErr string // a part, "" for none
	}{
		{name: "told", servers: deploymentOf("echo-server", "--port=8080", "--max-connection-age=90s"), want: 90 * time.Second},
		{name: "in_minutes", servers: deploymentOf("echo-server", "--max-connection-age=1m30s"), want: 90 * time.Second},
		{name: "not_told", servers: deploymentOf("echo-server", "--port=8080", "--max-connection-age-grace=5s")},
		{name: "beside_a_sidecar", servers: func() *appsv1.Deployment {
			d := deploymentOf("echo-server", "--max-connection-age=10s")
			d.Spec.Template.Spec.Containers = slices.Insert(d.Spec.Template.Spec.Containers, 0, corev1.Container{Name: "proxy", Args: []string{"--max-connection-age=1s"}})
			return d
		}(), want: 10 * time.Second},
		{name: "no_duration", servers: deploymentOf("echo-server", "--max-connection-age=ten"), wantErr: "ten"},
		{name: "no_server", servers: func() *appsv1.Deployment {
			d := deploymentOf("another")
			d.Name = "echo-server"
			return d
		}(), wantErr: "no container"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := runner.Duration(test.servers, "--max-connection-age=")
			if (err == nil) != (test.wantErr == "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
				t.Fatalf("error %v, want %q", err, test.wantErr)
			}
			if got != test.want {
				t.Errorf("age %s, want %s", got, test.want)
			}
		})
	}
}

// Of all overlays only the variants that say so let connections end.
func TestConnectionAgeOfEveryOverlay(t *testing.T) {
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range strategy.All() {
		rendered, err := repository.Render(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := manifest.Unstructured(rendered)
		if err != nil {
			t.Fatal(err)
		}
		servers, err := runner.Deployment(objects, "echo-server")
		if err != nil {
			t.Fatal(err)
		}
		for _, flag := range []string{"--max-connection-age=", "--max-connection-age-grace="} {
			age, err := runner.Duration(servers, flag)
			if ends := strings.HasSuffix(s.Name, "-max-age"); err != nil || (age > 0) != ends {
				t.Errorf("%s says %s%s, error %v, want an end of connections: %v", s.Name, flag, age, err, ends)
			}
		}
	}
}

// A change is what l4's client has not: arguments by their values, the code that
// its strategy names and what its own Role allows.
func TestChangeOf(t *testing.T) {
	role := func(kind, name string, rules ...any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"kind": kind, "metadata": map[string]any{"name": name}, "rules": rules}}
	}
	rule := func(resources []any, verbs ...any) map[string]any {
		return map[string]any{"resources": resources, "verbs": verbs}
	}
	for _, test := range []struct {
		name    string
		code    string
		args    []string
		objects []*unstructured.Unstructured
		want    report.Change
	}{
		{name: "nothing", args: []string{"--target=a", "--rate=50"}, want: report.Change{Args: []string{}, Rights: []string{}}},
		{name: "another_order", args: []string{"--rate=50", "--target=a"}, want: report.Change{Args: []string{}, Rights: []string{}}},
		{name: "another_value_and_another_flag", args: []string{"--target=b", "--more", "--rate=50"}, want: report.Change{Args: []string{"--target=b", "--more"}, Rights: []string{}}},
		{name: "one_less", args: []string{"--target=a"}, want: report.Change{Args: []string{}, Rights: []string{}}},
		{name: "code", code: "x/y", args: []string{"--target=a"}, want: report.Change{Code: "x/y", Args: []string{}, Rights: []string{}}},
		{
			name: "rights", args: []string{"--target=a"},
			objects: []*unstructured.Unstructured{role("Role", "caller", rule([]any{"slices", "pods"}, "list", "watch"), rule([]any{"nodes"}, "get"))},
			want:    report.Change{Args: []string{}, Rights: []string{"list, watch slices, pods", "get nodes"}},
		},
		{
			name: "rights_of_others", args: []string{"--target=a"},
			objects: []*unstructured.Unstructured{role("Role", "proxy", rule([]any{"slices"}, "list")), role("RoleBinding", "caller")},
			want:    report.Change{Args: []string{}, Rights: []string{}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := deploymentOf("echo-client", test.args...)
			client.Spec.Template.Spec.ServiceAccountName = "caller"
			got := runner.ChangeOf(runner.Strategy{Code: test.code}, client, deploymentOf("echo-client", "--target=a", "--rate=50"), test.objects)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("change (-want +got):\n%s", diff)
			}
		})
	}
}

// What an application changes for a strategy is what its overlay shows.
func TestChangeOfOverlays(t *testing.T) {
	repository, err := manifest.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	load := func(name string) []*unstructured.Unstructured {
		rendered, err := repository.Render(name)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := manifest.Unstructured(rendered)
		if err != nil {
			t.Fatal(err)
		}
		return objects
	}
	l4, err := runner.Deployment(load("l4"), "echo-client")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"--target=dns:///echo-server:8080", "--lb-policy=round_robin"}
	none := []string{}
	want := map[string]report.Change{
		"l4":          {Args: none, Rights: none},
		"l4-max-age":  {Args: none, Rights: none},
		"dns":         {Args: names[1:], Rights: none},
		"dns-max-age": {Args: names[1:], Rights: none},
		"k8s-api": {
			Args: []string{"--target=k8s:///echo-server:grpc", "--lb-policy=round_robin"}, Code: "apps/k8sresolver", Rights: []string{"list, watch endpointslices"},
		},
		"linkerd": {Args: []string{"--target=passthrough:///[$(HOST_IP)]:4140", "--authority=echo-server:8080"}, Rights: none},
		"envoy":   {Args: []string{"--target=dns:///envoy:8080"}, Rights: none},
		"gateway": {Args: []string{"--target=dns:///echo-gateway-istio:8080"}, Rights: none},
		"istio":   {Args: none, Rights: none},
		"xds":     {Args: []string{"--target=xds:///echo-server:8080"}, Code: "google.golang.org/grpc/xds", Rights: none},
	}
	got := map[string]report.Change{}
	for _, s := range strategy.All() {
		if _, ok := want[s.Name]; !ok {
			continue
		}
		objects := load(s.Name)
		client, err := runner.Deployment(objects, "echo-client")
		if err != nil {
			t.Fatal(err)
		}
		got[s.Name] = runner.ChangeOf(s, client, l4, objects)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
