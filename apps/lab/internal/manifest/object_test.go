package manifest_test

import (
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

// A field that Kubernetes does not have is refused before any check.
func TestDecodeRejects(t *testing.T) {
	for _, test := range []struct{ name, old, new, want string }{
		{name: "misspelt_field", old: "replicas: 3", new: "replica: 3", want: `Deployment/echo-client: strict decoding error: unknown field "spec.replica"`},
		{name: "unknown_kind", old: "kind: Service\n", new: "kind: Srevice\n", want: `no kind "Srevice"`},
		{name: "not_yaml", old: "kind: Service\n", new: "kind: [\n", want: "manifest: decoding object 4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := manifest.Decode(manifesttest.Mutate(t, manifesttest.Render(t, "l4"), test.old, test.new))
			manifesttest.Rejected(t, err, test.want)
		})
	}
}
