package gatewayapi_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilversion "k8s.io/apimachinery/pkg/util/version"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/gatewayapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const root = "../../../../.."

// The definitions are those of the standard channel and of the release that Istio is built
// with, and the lab reads objects with types that know all that they define.
func TestDefinitions(t *testing.T) {
	dir, err := component.Builder{Root: root, Cache: t.TempDir()}.Build(t.Context(), component.GatewayAPI)
	if err != nil {
		t.Fatal(err)
	}
	version, err := component.GatewayAPI.Version(root)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := (&gatewayapi.GatewayAPI{Dir: dir, Version: version}).Definitions()
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, o := range objects {
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		kinds = append(kinds, kind)
		const channel, bundle = "gateway.networking.k8s.io/channel", "gateway.networking.k8s.io/bundle-version"
		if o.GetKind() != "CustomResourceDefinition" || o.GetAnnotations()[channel] != "standard" || o.GetAnnotations()[bundle] != version {
			t.Errorf("%s %s has the annotations %v, expected a definition of the standard channel of %s", o.GetKind(), o.GetName(), o.GetAnnotations(), version)
		}
	}
	for _, kind := range []string{"GatewayClass", "Gateway", "GRPCRoute", "ReferenceGrant"} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("it defines %v, expected %s among them", kinds, kind)
		}
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	types := regexp.MustCompile(regexp.QuoteMeta(component.GatewayAPI.Module) + ` (v\S+)`).FindSubmatch(mod)
	if types == nil {
		t.Fatalf("the lab's go.mod does not require %s", component.GatewayAPI.Module)
	}
	if has := string(types[1]); utilversion.MustParseSemantic(has).LessThan(utilversion.MustParseSemantic(version)) {
		t.Errorf("the lab reads objects with the types of %s, expected %s or later: go get %s@%[2]s", has, version, component.GatewayAPI.Module)
	}
}
