package overlay_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/overlay"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/release"
)

// argoCD returns what CheckArgoCD compares.
func argoCD(t *testing.T) (argocd, root []byte, overlays map[string][]overlay.Object) {
	t.Helper()
	argocd, err := checkout(t).RenderDir("argocd")
	if err != nil {
		t.Fatal(err)
	}
	root, err = os.ReadFile(filepath.Join(checkout(t).Root(), "argocd/root.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	overlays = map[string][]overlay.Object{}
	list, err := checkout(t).List()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range list {
		overlays[name] = decode(t, render(t, name))
	}
	return argocd, root, overlays
}

// Argo CD deploys each overlay, each from its own file, and may do no more than that.
func TestArgoCD(t *testing.T) {
	if err := overlay.CheckArgoCD(argoCD(t)); err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob(filepath.Join(checkout(t).Root(), "argocd/*.yaml"))
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
	overlays, err := checkout(t).List()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(overlays, found); diff != "" {
		t.Errorf("overlays and files in argocd/ (-overlays +argocd):\n%s", diff)
	}
}

// Each difference between Argo CD's files and the overlays is refused.
func TestArgoCDRejects(t *testing.T) {
	repository, err := release.ReadRepository(checkout(t).Root())
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
		{name: "field_in_other_case", old: "repoURL:", new: "repoUrl:", want: `unknown field "spec.source.repoUrl"`},
		{name: "unknown_field", old: "selfHeal: true", new: "selfHeals: true", want: `unknown field "spec.syncPolicy.automated.selfHeals"`},
		{name: "unknown_field_in_root", root: [2]string{"selfHeal: true", "selfHeals: true"}, want: `root.yaml: unknown field`},
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
				argocd = mutate(t, argocd, test.old, test.new)
			}
			if test.root[0] != "" {
				root = mutate(t, root, test.root[0], test.root[1])
			}
			rejected(t, overlay.CheckArgoCD(argocd, root, overlays), test.want)
		})
	}
}
