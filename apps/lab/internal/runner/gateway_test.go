package runner_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/gatewayapi"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/kube"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
)

// definitions stands in for what installs the Gateway API, and notes what is done to it.
type definitions struct{ did []string }

func (*definitions) String() string { return "the Gateway API" }

func (*definitions) Installed(_ context.Context, k *kube.Client) (bool, error) {
	return gatewayapi.Served(k)
}

func (*definitions) Describe() (string, error) { return "the Gateway API v1", nil }

func (d *definitions) Install(context.Context, *kube.Client) error {
	d.did = append(d.did, "install")
	return nil
}

func (d *definitions) Remove(context.Context, *kube.Client) error {
	d.did = append(d.did, "remove")
	return nil
}

// A strategy with a Gateway gets the Gateway API where the cluster has none, uses the
// cluster's, and is not run where there is none and none may be installed. The fake stands
// in for an API server.
func TestServeGateways(t *testing.T) {
	all := []metav1.APIResource{{Kind: "Gateway"}, {Kind: "GRPCRoute"}}
	for _, test := range []struct {
		name   string
		addon  *definitions
		served []metav1.APIResource
		want   observe.Reason
		did    []string
	}{
		{name: "installed", addon: &definitions{}, did: []string{"install"}},
		{name: "there", addon: &definitions{}, served: all},
		{name: "there_without_grpcroutes", addon: &definitions{}, served: all[:1], did: []string{"install"}},
		{name: "there_on_a_cluster_of_others", served: all},
		{name: "missing_on_a_cluster_of_others", want: observe.Reason{Kind: observe.Lacking, Text: gatewayapi.Lacks}},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := fake.NewClientset()
			if test.served != nil {
				client.Resources = []*metav1.APIResourceList{{GroupVersion: gatewayapi.API, APIResources: test.served}}
			}
			cfg := runner.Config{}
			if test.addon != nil {
				cfg.GatewayAPI = test.addon
			}
			if diff := cmp.Diff(test.want, runner.ServeGateways(t.Context(), cfg, &kube.Client{Typed: client})); diff != "" {
				t.Errorf("not run because (-want +got):\n%s", diff)
			}
			if test.addon != nil {
				if diff := cmp.Diff(test.did, test.addon.did); diff != "" {
					t.Errorf("done to the Gateway API (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// A condition counts for the generation that it is about.
func TestConditionOf(t *testing.T) {
	for _, test := range []struct {
		name string
		text map[string]any
		want string
	}{
		{"true", map[string]any{"type": "Programmed", "status": "True", "observedGeneration": int64(2)}, "True"},
		{"of an older generation", map[string]any{"type": "Programmed", "status": "True", "reason": "Programmed", "message": "ok", "observedGeneration": int64(1)}, "True (Programmed: ok)"},
		{"false", map[string]any{"type": "Programmed", "status": "False", "reason": "AddressNotAssigned", "message": "no address", "observedGeneration": int64(2)}, "False (AddressNotAssigned: no address)"},
		{"nobody has judged it", map[string]any{"type": "Programmed", "status": "Unknown", "reason": "Pending"}, "Unknown"},
		{"another condition", map[string]any{"type": "Accepted", "status": "True", "observedGeneration": int64(2)}, "Unknown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := &unstructured.Unstructured{Object: map[string]any{
				"metadata": map[string]any{"generation": int64(2)},
				"status":   map[string]any{"conditions": []any{test.text}},
			}}
			if got := runner.ConditionOf(o, "Programmed"); got != test.want {
				t.Errorf("condition %q, expected %q", got, test.want)
			}
		})
	}
}
