package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The user's own KUBECONFIG does not reach the cluster's kubectl.
func TestOverride(t *testing.T) {
	got := override([]string{"A=1", "KUBECONFIG=/home/user/config", "KUBECONFIG_MORE=2"}, "KUBECONFIG=/lab")
	if diff := cmp.Diff([]string{"A=1", "KUBECONFIG_MORE=2", "KUBECONFIG=/lab"}, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}
