package overlay_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/overlay"
)

// istio changes nothing but the namespace and the Namespace's labels.
func TestIstioEqualsL4(t *testing.T) {
	l4, istio := render(t, "l4"), render(t, "istio")
	service := "\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: more\n"
	for _, test := range []struct {
		name  string
		istio []byte
		want  []string
	}{
		{name: "as_it_is", istio: istio},
		{name: "another_rate", istio: mutate(t, istio, "--rate=20", "--rate=51"), want: []string{"Deployment/echo-client differs"}},
		{name: "another_name", istio: mutate(t, istio, "kind: PodDisruptionBudget\nmetadata:\n", "kind: PodDisruptionBudget\nmetadata:\n  generateName: x\n"), want: []string{"PodDisruptionBudget/echo-server differs"}},
		{name: "one_more", istio: append(bytes.Clone(istio), service...), want: []string{"Service/more is added"}},
		{name: "none", want: []string{"Deployment/echo-client is missing", "Deployment/echo-server is missing", "Namespace is missing", "PodDisruptionBudget/echo-server is missing", "Service/echo-server is missing", "ServiceAccount/echo-client is missing", "ServiceAccount/echo-server is missing"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := overlay.DifferencesInKind(l4, test.istio)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}

// Every patch and every images: entry changes what is rendered: kustomize says
// nothing of one that does not.
func TestEveryEntryHasEffect(t *testing.T) {
	for _, name := range names(t) {
		for _, idle := range withoutEffect(t, nil, name) {
			t.Errorf("%s: %s changes nothing", name, idle)
		}
	}
	for _, v := range overlay.Variants {
		for _, idle := range withoutEffect(t, byHand(t, v), v.Overlay) {
			t.Errorf("%s: %s changes nothing", v.Name, idle)
		}
	}
	idle := withoutEffect(t, map[string]string{
		"overlays/x/kustomization.yaml": "namespace: grpc-lb-x\nresources: [../../base]\npatches: [{path: a.patch.yaml}]\nimages: [{name: nope, newTag: v1}]\n",
		"overlays/x/a.patch.yaml":       "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: echo-client}\nspec: {replicas: 3}\n",
	}, "x")
	want := []string{"overlays/x/kustomization.yaml patch a.patch.yaml", "overlays/x/kustomization.yaml image nope"}
	if diff := cmp.Diff(want, idle); diff != "" {
		t.Errorf("what changes nothing (-want +got):\n%s", diff)
	}
}

// withoutEffect leaves out one entry after the other and returns those without
// which the rendering is the same. The files lie on top of the checkout's.
func withoutEffect(t *testing.T, files map[string]string, name string) []string {
	t.Helper()
	repository := clone(t, files)
	full, err := repository.Render(name)
	if err != nil {
		t.Fatal(err)
	}
	sources, err := repository.Sources("overlays/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var idle []string
	try := func(file, entry string, without types.Kustomization) {
		content, err := yaml.Marshal(without)
		if err != nil {
			t.Fatal(err)
		}
		changed := map[string]string{}
		maps.Copy(changed, files)
		changed[file] = string(content)
		// What does not even build without the entry, such as a component of nothing, needs it.
		if rendered, err := clone(t, changed).Render(name); err == nil && bytes.Equal(full, rendered) {
			idle = append(idle, file+" "+entry)
		}
	}
	for _, source := range sources {
		for i, patch := range source.Patches {
			without := source.Kustomization
			without.Patches = append(append([]types.Patch{}, source.Patches[:i]...), source.Patches[i+1:]...)
			try(source.File, "patch "+patch.Path, without)
		}
		for i, image := range source.Images {
			without := source.Kustomization
			without.Images = append(append([]types.Image{}, source.Images[:i]...), source.Images[i+1:]...)
			try(source.File, "image "+image.Name, without)
		}
	}
	return idle
}

// Kustomizations use nothing that kustomize forgives and that goes wrong later,
// patches are short and say why, and each overlay has a short README.
func TestHouseRules(t *testing.T) {
	repository := checkout(t)
	var dirs []string
	for _, name := range names(t) {
		dirs = append(dirs, "overlays/"+name)
	}
	for _, v := range overlay.Variants {
		for _, c := range v.Components {
			dirs = append(dirs, "base/components/"+c)
		}
	}
	for _, dir := range dirs {
		sources, err := repository.Sources(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range sources {
			for _, violation := range forbidden(source.Kustomization) {
				t.Errorf("%s: %s", source.File, violation)
			}
		}
	}
	for _, name := range names(t) {
		readme, err := os.ReadFile(filepath.Join(repository.Root(), "overlays", name, "README.md"))
		if err != nil {
			t.Error(err)
		}
		if lines := bytes.Count(readme, []byte("\n")); lines > 25 {
			t.Errorf("overlays/%s/README.md has %d lines, expected at most 25", name, lines)
		}
		if !strings.Contains(string(readme), "kubectl apply -k overlays/"+name) {
			t.Errorf("overlays/%s/README.md does not say how to deploy it", name)
		}
	}
	for _, dir := range []string{"base", "overlays"} {
		err := fs.WalkDir(os.DirFS(repository.Root()), dir, func(file string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(file, ".patch.yaml") {
				return err
			}
			content, err := os.ReadFile(filepath.Join(repository.Root(), file))
			if err != nil {
				return err
			}
			if violation := badPatch(string(content)); violation != "" {
				t.Errorf("%s: %s", file, violation)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The house rules refuse what breaks them.
func TestHouseRulesReject(t *testing.T) {
	for _, patch := range []string{"kind: Service\n", "# Why.\n" + strings.Repeat("a: b\n", 15), "#\nkind: Service\n"} {
		if badPatch(patch) == "" {
			t.Errorf("patch %q was accepted", patch)
		}
	}
	for _, kustomization := range []types.Kustomization{
		{NamePrefix: "a-"},
		{NameSuffix: "-a"},
		{CommonAnnotations: map[string]string{"a": "b"}},
		{Labels: []types.Label{{IncludeSelectors: true}}},
		{Patches: []types.Patch{{Path: "a.patch.yaml", Target: &types.Selector{}}}},
		{Patches: []types.Patch{{Path: "a.yaml"}}},
		{Patches: []types.Patch{{Path: "a.json.yaml", Target: &types.Selector{}}}},
		{Resources: []string{"a.patch.yaml"}},
		{GeneratorOptions: &types.GeneratorOptions{DisableNameSuffixHash: true}},
	} {
		if len(forbidden(kustomization)) != 1 {
			t.Errorf("got %v for %+v, expected one violation", forbidden(kustomization), kustomization)
		}
	}
	jsonPatch := types.Kustomization{Patches: []types.Patch{{Path: "a.json.patch.yaml", Target: &types.Selector{}}}}
	if violations := forbidden(jsonPatch); len(violations) > 0 {
		t.Errorf("a JSON patch with its target: %v", violations)
	}
}

func badPatch(content string) string {
	first, _, _ := strings.Cut(content, "\n")
	if len(first) < len("# Why.") || first[0] != '#' {
		return "the first line does not say why"
	}
	if lines := strings.Count(content, "\n"); lines > 15 {
		return fmt.Sprintf("%d lines, expected at most 15", lines)
	}
	return ""
}

func forbidden(k types.Kustomization) []string {
	var violations []string
	refuse := func(is bool, what string) {
		if is {
			violations = append(violations, what)
		}
	}
	refuse(k.NamePrefix != "" || k.NameSuffix != "", "namePrefix and nameSuffix rename the Service, not the client's target")
	refuse(len(k.CommonAnnotations) > 0, "commonAnnotations land on everything")
	refuse(k.GeneratorOptions != nil && k.GeneratorOptions.DisableNameSuffixHash, "without its hash a changed ConfigMap rolls no pod")
	for _, label := range k.Labels {
		refuse(label.IncludeSelectors, "labels with includeSelectors change selectors")
	}
	for _, patch := range k.Patches {
		// A JSON patch needs one; TestEveryEntryHasEffect finds what matches nothing.
		refuse(patch.Target != nil && !strings.HasSuffix(patch.Path, ".json.patch.yaml"), "a patch with a target: that matches nothing is silent")
		refuse(patch.Target == nil && !strings.HasSuffix(patch.Path, ".patch.yaml"), "a patch's file is named <name>.patch.yaml")
	}
	for _, resource := range k.Resources {
		refuse(strings.HasSuffix(path.Base(resource), ".patch.yaml"), "a patch is no resource")
	}
	return violations
}
