package strategy_test

import (
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
)

// Every overlay and every variant of this checkout follows the strategy of its
// name, and so does a copy of another name; what leads nowhere follows none.
func TestFollowed(t *testing.T) {
	for _, name := range manifesttest.All(t) {
		if got, err := strategy.Followed(manifesttest.Checkout(t), name); got.Name != name {
			t.Errorf("%s follows %q (%v), expected itself", name, got.Name, err)
		}
	}
	for _, test := range []struct {
		name, target string
		want, err    string
	}{
		{name: "alike", target: "dns:///echo-server:8080", want: "l4"},
		{name: "nowhere", target: "dns:///elsewhere:8080", err: "x follows no strategy: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			repository := manifesttest.Clone(t, map[string]string{
				"overlays/x/kustomization.yaml": "namespace: grpc-lb-x\nresources: [../../base]\npatches: [{path: target.patch.yaml}]\n",
				"overlays/x/target.patch.yaml":  "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: echo-client}\nspec: {template: {spec: {containers: [{name: echo-client, args: ['--target=" + test.target + "']}]}}}\n",
			})
			got, err := strategy.Followed(repository, "x")
			if got.Name != test.want {
				t.Errorf("it follows %q, expected %q", got.Name, test.want)
			}
			if test.err != "" {
				manifesttest.Rejected(t, err, test.err)
			}
		})
	}
	_, err := strategy.Followed(manifesttest.Checkout(t), "nope")
	manifesttest.Rejected(t, err, "does not exist")
}
