package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/argocd"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/experiment"
)

// Argo CD syncs every overlay, however few are measured: the nodes need the images
// of all of them. Where the overlays are applied they need those of the few.
func TestPlanImages(t *testing.T) {
	c := emptyCheckout(t)
	all, err := c.repository.List()
	if err != nil {
		t.Fatal(err)
	}
	refs := func(o runOptions) []string {
		p, err := c.planOf(o, thisMachine, experiment.Prove)
		if err != nil {
			t.Fatal(err)
		}
		return p.refs()
	}
	want := refs(runOptions{only: all})
	if len(want) < 2 {
		t.Errorf("all overlays need %q, want the images of Envoy and Linkerd among them", want)
	}
	if diff := cmp.Diff(want, refs(runOptions{only: []string{"l4"}, deploy: argocd.Name})); diff != "" {
		t.Errorf("images where Argo CD deploys and l4 alone is measured (-want +got):\n%s", diff)
	}
	if got := refs(runOptions{only: []string{"l4"}}); len(got) > 0 {
		t.Errorf("l4 alone needs %q, want none", got)
	}
}
