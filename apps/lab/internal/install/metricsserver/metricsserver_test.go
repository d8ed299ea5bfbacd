package metricsserver_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/gobuild"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/metricsserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sources are metrics-server's own manifests, of the pinned version.
func sources(t *testing.T) string {
	t.Helper()
	in := gobuild.Go{Dir: "../../../components/metrics-server", Env: []string{"GOFLAGS=", "GOWORK=off"}}
	_, err := in.Output(t.Context(), "mod", "download", component.MetricsServer.Module)
	if err != nil {
		t.Fatal(err)
	}
	module, err := in.Output(t.Context(), "list", "-m", "-f", "{{.Dir}}", component.MetricsServer.Module)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, source := range component.MetricsServer.Files {
		content, err := os.ReadFile(filepath.Join(module, source))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The lab runs metrics-server's own manifests with the image that it packs, which no node
// pulls, and lets it ask the lab's kubelets as often as it can.
func TestRender(t *testing.T) {
	m := &metricsserver.MetricsServer{Dir: sources(t), Version: "v9.8.7"}
	objects, err := m.Render()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, o := range objects {
		kinds[o.GetKind()]++
		if o.GetKind() != "Deployment" {
			continue
		}
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
			t.Fatal(err)
		}
		c := d.Spec.Template.Spec.Containers[0]
		if c.Image != "lab.local/metrics-server:v9.8.7" || c.ImagePullPolicy != "Never" {
			t.Errorf("image %s is pulled %s, want lab.local/metrics-server:v9.8.7, Never", c.Image, c.ImagePullPolicy)
		}
		for _, want := range []string{"--kubelet-insecure-tls", "--metric-resolution=10s", "--kubelet-request-timeout=5s"} {
			if !slices.Contains(c.Args, want) {
				t.Errorf("arguments %q lack %s", c.Args, want)
			}
		}
	}
	want := map[string]int{"APIService": 1, "ClusterRole": 2, "ClusterRoleBinding": 2, "Deployment": 1, "RoleBinding": 1, "Service": 1, "ServiceAccount": 1}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

// A component without a manifest is refused by the name of the file.
func TestRenderIncomplete(t *testing.T) {
	dir := sources(t)
	if err := os.Remove(filepath.Join(dir, "rbac.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := (&metricsserver.MetricsServer{Dir: dir}).Render(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want that rbac.yaml does not exist", err)
	}
}
