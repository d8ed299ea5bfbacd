package manifest_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

// No overlay has NetworkPolicies. One line in its kustomization adds them and changes nothing
// else, as kubectl and the library render it.
func TestPoliciesAreOneLine(t *testing.T) {
	program := kubectl(t)
	for _, name := range manifesttest.Names(t) {
		t.Run(name, func(t *testing.T) {
			plain := manifesttest.Render(t, name)
			if strings.Contains(string(plain), "kind: NetworkPolicy") {
				t.Fatal("it has NetworkPolicies: expected none")
			}
			got, err := manifesttest.Checkout(t).RenderWithPolicies(name)
			if err != nil {
				t.Fatal(err)
			}
			added, err := manifest.DifferencesInKind(plain, got)
			if err != nil {
				t.Fatal(err)
			}
			for _, difference := range added {
				if !strings.HasPrefix(difference, "NetworkPolicy/") {
					t.Errorf("it changes more: %s", difference)
				}
			}
			clone := manifesttest.Clone(t, optIn(t, name))
			byHand, err := clone.RenderWithPolicies(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(objectsByName(t, byHand), objectsByName(t, got)); diff != "" {
				t.Errorf("(-by hand +component):\n%s", diff)
			}
			var stderr bytes.Buffer
			command := exec.Command(program, "kustomize", filepath.Join(clone.Root(), "overlays", name))
			command.Stderr = &stderr
			want, err := command.Output()
			if err != nil || stderr.Len() > 0 {
				t.Fatalf("kubectl kustomize: %v\n%s", err, &stderr)
			}
			if diff := cmp.Diff(string(want), string(byHand)); diff != "" {
				t.Errorf("(-kubectl +library):\n%s", diff)
			}
		})
	}
}

// optIn returns an overlay's kustomization with the one line of overlays/README.md.
func optIn(t *testing.T, name string) map[string]string {
	t.Helper()
	const list, line = "components:\n", "  - " + manifest.PolicyFolder + "\n"
	file := "overlays/" + name + "/kustomization.yaml"
	content, err := manifesttest.Checkout(t).Read(file)
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(content), list)
	if !found {
		return map[string]string{file: before + list + line}
	}
	return map[string]string{file: before + list + line + after}
}

// objectsByName returns the objects of a rendering, whose order components change.
func objectsByName(t *testing.T, rendered []byte) map[string]map[string]any {
	t.Helper()
	objects, err := manifest.Unstructured(rendered)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]any{}
	for _, o := range objects {
		all[manifest.Describe(o)] = o.Object
	}
	return all
}

// Every pod is denied both directions by one policy that admits nothing, and each variant has
// the policies of its overlay.
func TestPoliciesDenyByDefault(t *testing.T) {
	for _, name := range manifesttest.All(t) {
		policies, err := manifesttest.Checkout(t).Policies(name)
		if err != nil {
			t.Fatal(err)
		}
		denied := false
		for _, o := range policies {
			if o.GetNamespace() != manifest.Namespace(name) {
				t.Errorf("%s: NetworkPolicy %s is in namespace %s, want %s", name, o.GetName(), o.GetNamespace(), manifest.Namespace(name))
			}
			var policy networkingv1.NetworkPolicy
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &policy); err != nil {
				t.Fatal(err)
			}
			selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
			if err != nil {
				t.Fatal(err)
			}
			denied = denied || selector.Matches(labels.Set{}) && len(policy.Spec.PolicyTypes) == 2 && len(policy.Spec.Ingress) == 0 && len(policy.Spec.Egress) == 0
		}
		if !denied {
			t.Errorf("%s: no policy denies everything to all pods", name)
		}
	}
}

// An overlay without the folder is refused by the name of the file that is missing.
func TestPoliciesMissing(t *testing.T) {
	clone := manifesttest.Clone(t, map[string]string{
		"overlays/shop/kustomization.yaml": "namespace: grpc-lb-shop\nresources: [../../base]\n",
	})
	_, err := clone.Policies("shop")
	manifesttest.Rejected(t, err, "overlays/shop/network-policy/kustomization.yaml")
}
