package runner_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/metricsserver"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// serving is an API server with or without metrics.k8s.io.
func serving(metrics bool) *kube.Client {
	client := fake.NewClientset()
	if metrics {
		client.Resources = []*metav1.APIResourceList{{GroupVersion: metricsserver.API}}
	}
	return &kube.Client{Typed: client}
}

// metricsAddon notes what is done to it.
type metricsAddon struct {
	fails error
	did   []string
}

func (*metricsAddon) String() string { return "metrics-server" }

func (*metricsAddon) Installed(_ context.Context, k *kube.Client) (bool, error) {
	return metricsserver.Served(k)
}

func (*metricsAddon) Describe() (string, error) { return "metrics-server v1", nil }

func (a *metricsAddon) Install(context.Context, *kube.Client) error {
	a.did = append(a.did, "install")
	return a.fails
}

func (a *metricsAddon) Remove(context.Context, *kube.Client) error {
	a.did = append(a.did, "remove")
	return nil
}

// An experiment that reads metrics.k8s.io gets a metrics-server where the cluster has
// none, which is removed afterwards; it uses that of the cluster; and it is left out
// where there is none and none may be installed.
func TestServeMetrics(t *testing.T) {
	for _, test := range []struct {
		name   string
		addon  *metricsAddon
		served bool
		keep   bool
		want   observe.Reason
		did    []string
	}{
		{name: "installed", addon: &metricsAddon{}, did: []string{"install", "remove"}},
		{name: "kept", addon: &metricsAddon{}, keep: true, did: []string{"install"}},
		{name: "there", addon: &metricsAddon{}, served: true},
		{name: "there_on_a_cluster_of_others", served: true},
		{
			name: "missing_on_a_cluster_of_others",
			want: observe.Reason{Kind: observe.OutOfReach, Text: "this cluster has no metrics-server: nothing serves metrics.k8s.io/v1beta1"},
		},
		{
			name: "cannot_be_installed", addon: &metricsAddon{fails: errors.New("not ready in 3m")},
			want: observe.Reason{Text: "not ready in 3m"}, did: []string{"install", "remove"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := runner.Config{Options: runner.Options{Keep: test.keep}}
			if test.addon != nil {
				cfg.Metrics = test.addon
			}
			made := 0
			why := runner.MakeReadingMetrics(t.Context(), cfg, serving(test.served), func() { made++ })
			if diff := cmp.Diff(test.want, why); diff != "" {
				t.Errorf("left out because (-want +got):\n%s", diff)
			}
			if want := test.want == (observe.Reason{}); (made == 1) != want {
				t.Errorf("the experiment was made %d times, want it made: %t", made, want)
			}
			if test.addon != nil {
				if diff := cmp.Diff(test.did, test.addon.did); diff != "" {
					t.Errorf("done to metrics-server (-want +got):\n%s", diff)
				}
			}
		})
	}
}
