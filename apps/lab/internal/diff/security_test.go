package diff_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/diff"
)

// What opens the cluster raises the flag security, and what closes it does not.
func TestSecurity(t *testing.T) {
	const (
		ns      = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ns\n  labels: {pod-security.kubernetes.io/enforce: restricted}\n"
		project = "apiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata: {name: p, namespace: argocd}\nspec:\n  sourceRepos: [https://example.com/a.git]\n" +
			"  destinations: [{namespace: ns, server: s}]\n  clusterResourceBlacklist: [{group: '', kind: Node}]\n"
		policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np, namespace: ns}\nspec: {podSelector: {}}\n"
		hidden = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ns}\ndata: {a: b}\n"
		grant  = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: g, namespace: ns}\n" +
			"spec: {from: [{group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: edge}], to: [{group: '', kind: Service}]}\n"
		lends = "security: which namespaces may name objects of this one changes"
		opens = "security: which connections the pods accept and make changes"
		reads = "security: a Secret is in the manifests: everybody who reads the repository can read it"
	)
	for _, test := range []struct {
		name          string
		before, after []string
		admitted      []schema.GroupKind
		want          []string
	}{
		{name: "weaker_pods", before: []string{ns}, after: []string{edit(t, ns, "restricted", "privileged")},
			want: []string{"changed Namespace ns", "security: pod security (enforce) becomes weaker: privileged instead of restricted"}},
		{name: "level_removed", before: []string{ns}, after: []string{edit(t, ns, "pod-security.kubernetes.io/enforce", "other")},
			want: []string{"changed Namespace ns", "security: pod security (enforce) becomes weaker: no level instead of restricted"}},
		{name: "stricter_pods", before: []string{edit(t, ns, "restricted", "privileged")}, after: []string{ns}, want: []string{"changed Namespace ns"}},
		{name: "privileged_from_the_start", after: []string{edit(t, ns, "restricted", "privileged")},
			want: []string{"added Namespace ns", "security: pod security enforces privileged: pods may get all rights of their node"}},
		{name: "restricted_from_the_start", after: []string{ns}, want: []string{"added Namespace ns"}},
		{name: "project_of_all_sources", before: []string{project}, after: []string{edit(t, project, "https://example.com/a.git", "'*'")},
			want: []string{"changed AppProject argocd/p", "security: sourceRepos admits *"}},
		{name: "project_of_all_namespaces", before: []string{project}, after: []string{edit(t, project, "namespace: ns, server", "namespace: '*', server")},
			want: []string{"changed AppProject argocd/p", "security: destinations admits namespace *, server s"}},
		{name: "project_that_forbids_less", before: []string{project}, after: []string{edit(t, project, "clusterResourceBlacklist: [{group: '', kind: Node}]", "description: x")},
			want: []string{"changed AppProject argocd/p", "security: clusterResourceBlacklist no longer forbids group , kind Node"}},
		{name: "project_that_admits_less", before: []string{edit(t, project, "https://example.com/a.git", "https://example.com/a.git, b")}, after: []string{project},
			want: []string{"changed AppProject argocd/p"}},
		{name: "policy_changed", before: []string{policy}, after: []string{edit(t, policy, "podSelector: {}", "podSelector: {}, ingress: [{}]")}, want: []string{"changed NetworkPolicy ns/np", opens}},
		{name: "policy_relabelled", before: []string{policy}, after: []string{edit(t, policy, "name: np,", "name: np, labels: {a: b},")}, want: []string{"changed NetworkPolicy ns/np"}},
		{name: "policy_gone", before: []string{policy, ns}, after: []string{ns}, want: []string{"removed NetworkPolicy ns/np", "pruned: it is no longer rendered: Argo CD deletes it, kubectl apply leaves it behind", opens}},
		{name: "grant", before: []string{ns}, after: []string{ns, grant}, want: []string{"added ReferenceGrant ns/g", lends}},
		{name: "grant_changed", before: []string{grant}, after: []string{edit(t, grant, "namespace: edge", "namespace: web")}, want: []string{"changed ReferenceGrant ns/g", lends}},
		{name: "grant_relabelled", before: []string{grant}, after: []string{edit(t, grant, "name: g,", "name: g, labels: {a: b},")}, want: []string{"changed ReferenceGrant ns/g"}},
		{name: "secret", before: []string{ns}, after: []string{ns, hidden}, want: []string{"added Secret ns/s", reads}},
		{name: "kind_outside_the_project", before: []string{ns}, after: []string{ns, policy}, admitted: []schema.GroupKind{{Kind: "Namespace"}},
			want: []string{"added NetworkPolicy ns/np", opens, "security: the AppProject does not admit NetworkPolicy.networking.k8s.io: Argo CD refuses the sync"}},
		{name: "kind_inside_the_project", before: []string{ns}, after: []string{ns, policy}, admitted: []schema.GroupKind{{Group: "*", Kind: "*"}},
			want: []string{"added NetworkPolicy ns/np", opens}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := compare(t, diff.Unit{Name: "x", Before: decode(t, test.before...), After: decode(t, test.after...), Admitted: test.admitted})
			if diff := cmp.Diff(test.want, outline(r)); diff != "" {
				t.Errorf("objects and flags (-want +got):\n%s", diff)
			}
		})
	}
}
