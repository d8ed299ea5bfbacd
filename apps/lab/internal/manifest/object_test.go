package manifest_test

import (
	"strings"
	"testing"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

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

// Objects of the Gateway API are read in the versions before v1 too, and keep their version.
// A kind that v1 does not have is refused.
func TestDecodeGatewayAPI(t *testing.T) {
	const grant = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: a}\nspec: {from: [{group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: b}], to: [{group: '', kind: Service}]}\n"
	objects, err := manifest.Decode([]byte(grant))
	if err != nil {
		t.Fatal(err)
	}
	found, ok := manifest.Get[*gatewayv1.ReferenceGrant](objects, "a")
	if !ok || found.APIVersion != "gateway.networking.k8s.io/v1beta1" || len(found.Spec.From) != 1 {
		t.Errorf("got %+v, want a ReferenceGrant of v1beta1 with one reference", objects)
	}
	_, err = manifest.Decode([]byte(strings.NewReplacer("v1beta1", "v1", "kind: ReferenceGrant", "kind: ReferenceGrants").Replace(grant)))
	manifesttest.Rejected(t, err, `no kind "ReferenceGrants"`)
	const route = "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: a}\nspec: {rules: [{backendRefs: [{name: a, port: grpc}]}]}\n"
	_, err = manifest.Decode([]byte(route))
	manifesttest.Rejected(t, err, "field spec.rules.backendRefs.port is a string, expected int32")
	_, err = manifest.Decode([]byte(strings.Replace(grant, "namespace: b", "nameSpace: b", 1)))
	manifesttest.Rejected(t, err, `unknown field "spec.from[0].nameSpace"`)
}
