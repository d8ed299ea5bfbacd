package gatewayapi_test

import (
	"maps"
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
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const root = "../../../../.."

// definitions returns those that the lab installs, and their version.
func definitions(t *testing.T) (objects []*unstructured.Unstructured, version string) {
	t.Helper()
	dir, err := component.Builder{Root: root, Cache: t.TempDir()}.Build(t.Context(), component.GatewayAPI)
	if err != nil {
		t.Fatal(err)
	}
	if version, err = component.GatewayAPI.Version(root); err != nil {
		t.Fatal(err)
	}
	if objects, err = (&gatewayapi.GatewayAPI{Dir: dir, Version: version}).Definitions(); err != nil {
		t.Fatal(err)
	}
	return objects, version
}

// The definitions are those of the standard channel and of the release that Istio is built
// with, and the lab reads objects with types that know all that they define.
func TestDefinitions(t *testing.T) {
	objects, version := definitions(t)
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

// The overlays write out each default that the API server would add inside of a list: Argo CD
// compares a list as a whole, and such an object would stay OutOfSync.
func TestDefaultsInLists(t *testing.T) {
	schemas := map[string]map[string]any{}
	all, _ := definitions(t)
	for _, d := range all {
		kind, _, _ := unstructured.NestedString(d.Object, "spec", "names", "kind")
		versions, _, _ := unstructured.NestedSlice(d.Object, "spec", "versions")
		for _, v := range versions {
			if version, ok := v.(map[string]any); ok && version["name"] == "v1" {
				schemas[kind], _, _ = unstructured.NestedMap(version, "schema", "openAPIV3Schema")
			}
		}
	}
	judged := 0
	for _, overlay := range manifesttest.Names(t) {
		objects, err := manifest.Unstructured(manifesttest.Render(t, overlay))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			if o.GroupVersionKind().GroupVersion().String() != gatewayapi.API {
				continue
			}
			judged++
			for _, missing := range unwritten(schemas[o.GetKind()], o.Object["spec"], "spec", false) {
				t.Errorf("overlay %s: %s/%s lacks the default %s", overlay, o.GetKind(), o.GetName(), missing)
			}
		}
	}
	if judged < 2 {
		t.Errorf("%d objects of the Gateway API were judged, expected 2 or more", judged)
	}
	half := map[string]any{"rules": []any{map[string]any{"backendRefs": []any{map[string]any{"name": "a", "group": "", "kind": "Service"}}}}}
	if got := unwritten(schemas["GRPCRoute"], half, "spec", false); !slices.Equal(got, []string{"spec.rules.backendRefs.weight"}) {
		t.Errorf("of a backend without a weight %q are missing, expected its weight", got)
	}
}

// unwritten returns the fields inside of lists that a schema has a default for and a value
// lacks. The first schema is that of the object.
func unwritten(schema map[string]any, value any, path string, inList bool) (missing []string) {
	if path == "spec" {
		schema, _, _ = unstructured.NestedMap(schema, "properties", "spec")
	}
	switch value := value.(type) {
	case []any:
		items, _, _ := unstructured.NestedMap(schema, "items")
		for _, item := range value {
			missing = append(missing, unwritten(items, item, path, true)...)
		}
	case map[string]any:
		properties, _, _ := unstructured.NestedMap(schema, "properties")
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			below, _ := properties[name].(map[string]any)
			_, has := below["default"]
			switch field, there := value[name]; {
			case there:
				missing = append(missing, unwritten(below, field, path+"."+name, inList)...)
			case has && inList:
				missing = append(missing, path+"."+name)
			}
		}
	}
	return missing
}
