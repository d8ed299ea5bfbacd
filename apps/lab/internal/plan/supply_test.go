package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/image"
)

// The manifests' images take the registry's names, those of others too where they
// were given.
func TestRename(t *testing.T) {
	registry, err := image.ParseRegistry("localhost:5000/lab")
	if err != nil {
		t.Fatal(err)
	}
	p := supplier{
		Plan:     &Plan{Target: Target{Registry: &registry}, named: map[string][]string{"linkerd": {"docker.io/buoyantio/linkerd:1.7.5"}}},
		Supplies: &Supplies{images: map[string]string{"ghcr.io/grpc-lb/echo-server": "lab.local/echo-server:1"}},
	}
	if err := p.rename(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"ghcr.io/grpc-lb/echo-server": "localhost:5000/lab/echo-server:1",
		"docker.io/buoyantio/linkerd": "localhost:5000/lab/buoyantio/linkerd:1.7.5",
	} {
		if p.images[name] != want {
			t.Errorf("%s becomes %s, want %s", name, p.images[name], want)
		}
	}
}

// A strategy whose image cannot be had is not required: only the build tells that.
func TestRunnable(t *testing.T) {
	p, err := newPlan(t, Options{Overlays: []string{"l4", "envoy"}}, thisMachine)
	if err != nil {
		t.Fatal(err)
	}
	lacking := &Supplies{remarks: remarks{unavailable: map[string]string{"envoy": "its image cannot be had"}}}
	if diff := cmp.Diff([]string{"l4"}, p.runnable(nil, lacking)); diff != "" {
		t.Errorf("runnable without Envoy's image (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"l4", "envoy"}, p.runnable()); diff != "" {
		t.Errorf("runnable (-want +got):\n%s", diff)
	}
}
