package check_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/check"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
)

// The rules for kustomizations and patches refuse what breaks them, and take a
// JSON patch with its target.
func TestSourceRules(t *testing.T) {
	const jsonPatch = "patches: [{path: %s, target: {kind: Deployment, name: echo-client}}]\n"
	const json = "# Why not three.\n- {op: replace, path: /spec/replicas, value: 1}\n"
	const patch = "# Why not three.\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: echo-client}\nspec: {replicas: 1}\n"
	for _, test := range []struct{ name, kustomization, file, content, rule string }{
		{name: "nothing", kustomization: ""},
		{name: "prefix", kustomization: "namePrefix: a-\n", rule: "kustomize-field"},
		{name: "suffix", kustomization: "nameSuffix: -a\n", rule: "kustomize-field"},
		{name: "annotations", kustomization: "commonAnnotations: {a: b}\n", rule: "kustomize-field"},
		{name: "selectors", kustomization: "labels: [{includeSelectors: true, pairs: {a: b}}]\n", rule: "kustomize-field"},
		{name: "no_hash", kustomization: "generatorOptions: {disableNameSuffixHash: true}\n", rule: "kustomize-field"},
		{name: "target", kustomization: fmt.Sprintf(jsonPatch, "a.patch.yaml"), file: "a.patch.yaml", content: patch, rule: "kustomize-field"},
		{name: "json_patch", kustomization: fmt.Sprintf(jsonPatch, "a.json.patch.yaml"), file: "a.json.patch.yaml", content: json},
		{name: "patch", kustomization: "patches: [{path: a.patch.yaml}]\n", file: "a.patch.yaml", content: patch},
		{name: "patch_of_another_name", kustomization: "patches: [{path: a.yaml}]\n", file: "a.yaml", content: patch, rule: "patch-form"},
		{name: "patch_without_why", kustomization: "patches: [{path: a.patch.yaml}]\n", file: "a.patch.yaml", content: "#\n" + patch[len("# Why not three.\n"):], rule: "patch-form"},
		{name: "long_patch", kustomization: "patches: [{path: a.patch.yaml}]\n", file: "a.patch.yaml", content: patch + strings.Repeat("#\n", 15), rule: "patch-form"},
		{name: "idle_patch", kustomization: "patches: [{path: a.patch.yaml}]\n", file: "a.patch.yaml", content: strings.Replace(patch, "replicas: 1", "replicas: 3", 1), rule: "entry-effect"},
		{name: "idle_image", kustomization: "images: [{name: nope, newTag: v1}]\n", rule: "entry-effect"},
		{name: "release_twice", kustomization: "components: [../../base/components/release]\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{"overlays/x/kustomization.yaml": "namespace: grpc-lb-x\nresources: [../../base]\n" + test.kustomization}
			if test.file != "" {
				files["overlays/x/"+test.file] = test.content
			}
			violations, err := check.Checkout(manifesttest.Clone(t, files), "x")
			if err != nil {
				t.Fatal(err)
			}
			var broken []string
			for _, v := range violations {
				if slices.Contains([]string{"kustomize-build", "kustomize-field", "patch-form", "entry-effect"}, v.Rule) {
					broken = append(broken, v.Rule)
				}
			}
			if got := strings.Join(broken, " "); got != test.rule {
				t.Errorf("broken rules %q, expected %q: %v", got, test.rule, violations)
			}
		})
	}
}
