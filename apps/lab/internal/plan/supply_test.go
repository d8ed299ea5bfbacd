package plan

import (
	"testing"

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
