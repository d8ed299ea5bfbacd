package check_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/check"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest/manifesttest"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
)

// argoCD returns what CheckArgoCD compares.
func argoCD(t *testing.T) (argocd, root []byte, overlays map[string][]manifest.Object) {
	t.Helper()
	argocd, err := manifesttest.Checkout(t).RenderDir("argocd")
	if err != nil {
		t.Fatal(err)
	}
	root, err = os.ReadFile(filepath.Join(manifesttest.Checkout(t).Root(), "argocd/root.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	overlays = map[string][]manifest.Object{}
	list, err := manifesttest.Checkout(t).List()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range list {
		overlays[name] = manifesttest.Decode(t, manifesttest.Render(t, name))
	}
	return argocd, root, overlays
}

// Argo CD deploys each overlay, each from its own file, and may do no more than that.
func TestArgoCD(t *testing.T) {
	if err := check.ArgoCD(argoCD(t)); err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob(filepath.Join(manifesttest.Checkout(t).Root(), "argocd/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if !slices.Contains([]string{"kustomization", "project", "repository", "root"}, name) {
			found = append(found, name)
		}
	}
	overlays, err := manifesttest.Checkout(t).List()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(overlays, found); diff != "" {
		t.Errorf("overlays and files in argocd/ (-overlays +argocd):\n%s", diff)
	}
}

// Each difference between Argo CD's files and the overlays is refused.
func TestArgoCDRejects(t *testing.T) {
	repository, err := release.ReadRepository(manifesttest.Checkout(t).Root())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		old, new string // in the rendering of argocd/
		root     [2]string
		want     string
	}{
		{name: "no_application", old: "name: grpc-lb-dns\n", new: "name: grpc-lb-sdn\n", want: "no Application/grpc-lb-dns for overlays/dns"},
		{name: "no_overlay", old: "name: grpc-lb-dns\n", new: "name: grpc-lb-sdn\n", want: "Application/grpc-lb-sdn: has no overlay"},
		{name: "path_of_another", old: "path: overlays/dns", new: "path: overlays/l4", want: "Application/grpc-lb-dns: source.path is overlays/l4, expected overlays/dns"},
		{name: "namespace_of_another", old: "namespace: grpc-lb-dns", new: "namespace: grpc-lb-l4", want: "Application/grpc-lb-dns: destination is"},
		{name: "another_repository", root: [2]string{repository.URL, "https://example.com/fork.git"}, want: "source.repoURL is " + repository.URL + ", expected https://example.com/fork.git"},
		{name: "another_revision", root: [2]string{"targetRevision: " + repository.Branch, "targetRevision: v1"}, want: "source.targetRevision is " + repository.Branch + ", expected v1"},
		{name: "wrong_type", old: "selfHeal: true", new: "selfHeal: sometimes", want: "spec.syncPolicy.automated.selfHeal is sometimes, expected a value of type boolean"},
		{name: "no_list", old: "  sourceRepos:\n  - ", new: "  sourceRepos: ", want: "spec.sourceRepos is " + repository.URL + ", expected a list"},
		{name: "no_object", old: "  - namespace: grpc-lb-*\n    server: ", new: "  - ", want: "spec.destinations[0] is https://kubernetes.default.svc"},
		{name: "field_in_other_case", old: "repoURL:", new: "repoUrl:", want: `unknown field "spec.source.repoUrl"`},
		{name: "unknown_field", old: "selfHeal: true", new: "selfHeals: true", want: `unknown field "spec.syncPolicy.automated.selfHeals"`},
		{name: "unknown_field_in_root", root: [2]string{"selfHeal: true", "selfHeals: true"}, want: `root.yaml: unknown field`},
		{name: "unknown_field_of_metadata", root: [2]string{"  finalizers:", "  finalizer:"}, want: `unknown field "metadata.finalizer"`},
		{name: "field_twice_in_root", root: [2]string{"    path: argocd", "    path: argocd\n    path: argocd"}, want: `root.yaml: `},
		{name: "stranger_in_root", root: [2]string{"kind: AppProject\nmetadata", "kind: ApplicationSet\nmetadata"}, want: "ApplicationSet/grpc-lb-root: root.yaml: expected one Application and one AppProject"},
		{name: "two_roots", root: [2]string{"kind: AppProject\nmetadata", "kind: Application\nmetadata"}, want: "root.yaml: expected one Application and one AppProject"},
		{name: "no_refresh", old: "refresh: true", new: "refresh: false", want: "retry.refresh is false, expected true"},
		{name: "not_automated", old: "selfHeal: true", new: "selfHeal: true\n      enabled: false", want: "automated.enabled is false"},
		{name: "pruned_without_asking", old: "sync-options: Prune=confirm", new: "sync-options: Prune=true", want: "sync-options is Prune=true, expected Prune=confirm"},
		{name: "other_names", old: "- group: \"\"\n    kind: Namespace", new: "- group: \"\"\n    kind: Namespace\n    name: '*'", want: "name in clusterResourceWhitelist is *, expected grpc-lb-*"},
		{name: "root_in_default", root: [2]string{"grpc-lb-root", "default"}, want: `root.yaml has the AppProject "default", expected one of its own`},
		{name: "root_elsewhere", root: [2]string{"namespace: argocd", "namespace: gitops"}, want: "AppProject/grpc-lb: namespace is argocd, expected gitops"},
		{name: "root_of_others", root: [2]string{"    - https://github.com", "    - '*'\n    - https://github.com"}, want: "AppProject/grpc-lb-root: sourceRepos is [* "},
		{name: "root_everywhere", root: [2]string{"      namespace: argocd", "      namespace: '*'"}, want: "AppProject/grpc-lb-root: destinations is"},
		{name: "root_makes_roles", root: [2]string{"  namespaceResourceWhitelist:", "  clusterResourceWhitelist: [{group: '*', kind: '*'}]\n  namespaceResourceWhitelist:"}, want: "AppProject/grpc-lb-root: clusterResourceWhitelist is"},
		{name: "no_group", old: "- group: apps\n    jsonPointers", new: "- group: ''\n    jsonPointers", want: "ignoreDifferences is [{ Deployment"},
		{name: "option_gone", old: "    - ServerSideApply=true\n", new: "", want: "syncOptions is"},
		{name: "kind_too_many", old: "kind: DaemonSet", new: "kind: StatefulSet", want: "namespaceResourceWhitelist is"},
		{name: "cluster_kind", old: "kind: Namespace", new: "kind: Node", want: "clusterResourceWhitelist is"},
		{name: "destinations", old: "namespace: grpc-lb-*", new: "namespace: '*'", want: "AppProject/grpc-lb: destinations is"},
		{name: "stranger", old: "kind: AppProject", new: "kind: ApplicationSet", want: "ApplicationSet/grpc-lb: is neither"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			argocd, root, overlays := argoCD(t)
			if test.old != "" {
				argocd = manifesttest.Mutate(t, argocd, test.old, test.new)
			}
			if test.root[0] != "" {
				root = manifesttest.Mutate(t, root, test.root[0], test.root[1])
			}
			manifesttest.Rejected(t, check.ArgoCD(argocd, root, overlays), test.want)
		})
	}
}

// Whatever Argo CD has may be used, in newer versions too, and the same in
// root.yaml; a namespace of another name, too, if it is the same everywhere.
func TestArgoCDAccepts(t *testing.T) {
	tests := []struct {
		name     string
		old, new string // in the rendering of argocd/
		root     [2]string
	}{
		{name: "history", old: "  project: grpc-lb\n", new: "  project: grpc-lb\n  revisionHistoryLimit: 3\n  info: [{name: a, value: b}]\n"},
		{name: "labels_of_kustomize", old: "    path: overlays/l4\n", new: "    path: overlays/l4\n    kustomize: {images: ['a:v1'], commonLabels: {any: name}, replicas: [{name: a, count: 3}]}\n"},
		{name: "values_of_helm", old: "    path: overlays/l4\n", new: "    path: overlays/l4\n    helm: {valuesObject: {any: {thing: [1]}}}\n"},
		{name: "not_set", old: "  project: grpc-lb\n", new: "  project: grpc-lb\n  info: null\n"},
		{name: "names_of_namespaces", old: "- group: \"\"\n    kind: Namespace", new: "- group: \"\"\n    kind: Namespace\n    name: grpc-lb-*"},
		{name: "window", root: [2]string{"  description:", "  syncWindows: [{kind: allow, schedule: '* * * * *', duration: 1h, manualSync: true}]\n  description:"}},
		{name: "namespace", old: "namespace: argocd\n", new: "namespace: openshift-gitops\n", root: [2]string{"namespace: argocd\n", "namespace: openshift-gitops\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			argocd, root, overlays := argoCD(t)
			if test.old != "" {
				argocd = manifesttest.Mutate(t, argocd, test.old, test.new)
			}
			if test.root[0] != "" {
				root = manifesttest.Mutate(t, root, test.root[0], test.root[1])
			}
			if err := check.ArgoCD(argocd, root, overlays); err != nil {
				t.Error(err)
			}
		})
	}
}

// Where argocd/ cannot be rendered, or root.yaml is missing, that alone is reported.
func TestArgoCDMissing(t *testing.T) {
	for _, file := range []string{"argocd/dns.yaml", "argocd/repository.yaml", "argocd/kustomization.yaml", "argocd/root.yaml"} {
		t.Run(file, func(t *testing.T) {
			repository := manifesttest.Clone(t, nil)
			if err := os.Remove(filepath.Join(repository.Root(), file)); err != nil {
				t.Fatal(err)
			}
			found, err := check.Checkout(repository)
			if err != nil || len(found) != 1 || found[0].Rule != "kustomize-build" {
				t.Errorf("found %v, %v, want one violation of kustomize-build", found, err)
			}
		})
	}
}
