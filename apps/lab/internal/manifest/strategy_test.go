package manifest_test

import (
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Every overlay and every variant of this checkout follows the strategy of its
// name, and so does a copy of another name; what leads nowhere follows none.
func TestStrategy(t *testing.T) {
	for _, name := range all(t) {
		if got, err := checkout(t).Strategy(name); got != name {
			t.Errorf("%s follows %q (%v), expected itself", name, got, err)
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
			repository := clone(t, map[string]string{
				"overlays/x/kustomization.yaml": "namespace: grpc-lb-x\nresources: [../../base]\npatches: [{path: target.patch.yaml}]\n",
				"overlays/x/target.patch.yaml":  "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: echo-client}\nspec: {template: {spec: {containers: [{name: echo-client, args: ['--target=" + test.target + "']}]}}}\n",
			})
			got, err := repository.Strategy("x")
			if got != test.want {
				t.Errorf("it follows %q, expected %q", got, test.want)
			}
			if test.err != "" {
				rejected(t, err, test.err)
			}
		})
	}
	_, err := checkout(t).Strategy("nope")
	rejected(t, err, "does not exist")
}

// What programs of others are told by variables is judged as what echo's are told
// by flags; a flag comes first.
func TestSettings(t *testing.T) {
	const target, drain = "        - --target=dns:///echo-server:8080\n", "        - --drain-delay=5s\n"
	asVariables := mutate(t, mutate(t, render(t, "l4"), target, ""), drain, "")
	asVariables = mutate(t, asVariables, "        env:\n", "        env:\n        - name: TARGET\n          value: dns:///echo-server:8080\n        - name: DRAIN_DELAY\n          value: 5s\n")
	if err := manifest.Check("l4", decode(t, asVariables)); err != nil {
		t.Error(err)
	}
	rejected(t, manifest.Check("l4", decode(t, mutate(t, asVariables, "value: 5s", "value: 15s"))), "(drain-grace)")
	rejected(t, manifest.Check("l4", decode(t, mutate(t, asVariables, "name: TARGET", "name: OTHER"))), "(client-target)")
}
