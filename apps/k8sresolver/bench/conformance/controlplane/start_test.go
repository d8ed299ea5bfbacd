package controlplane_test

import (
	"context"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/controlplane"
)

// Tests that a control plane starts, takes an EndpointSlice and stops.
func TestStart(t *testing.T) {
	programs, err := controlplane.Find()
	if err != nil {
		t.Skip("not run:", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cp, err := controlplane.Start(ctx, programs, t.TempDir())
	defer cp.Stop()
	if err != nil {
		t.Fatal(err)
	}
	es := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "a", Namespace: "shop"},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}},
	}
	for _, step := range []func() error{
		func() error { return cp.Namespace(ctx, "shop") },
		func() error { return cp.Grant(ctx, "shop") },
		func() error { return cp.Apply(ctx, es, es) },
		func() error { return cp.Delete(ctx, es) },
		func() error { return cp.ExternalName(ctx, "shop", "elsewhere") },
		func() error { return cp.Revoke(ctx, "shop") },
	} {
		if err := step(); err != nil {
			t.Error(err)
		}
	}
}
