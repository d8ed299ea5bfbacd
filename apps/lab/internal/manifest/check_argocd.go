package manifest

import (
	"fmt"
	"path"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// checkArgoStrict wants objects and fields that Argo CD knows, in its spelling.
func checkArgoStrict(a *argoCD, wrong reportObject) {
	for _, e := range a.wrong {
		wrong(e.object, "", "%s", oneLine(e.err))
	}
	if a.project == nil {
		wrong(nil, "", "0 AppProjects, expected 1")
	}
}

// checkCorrespondence wants an Application for each overlay, and no other.
func checkCorrespondence(a *argoCD, wrong reportObject) {
	for name := range a.overlays {
		if _, ok := a.applications[Namespace(name)]; !ok {
			wrong(nil, "", "no Application/%s for overlays/%s", Namespace(name), name)
		}
	}
	for name, application := range a.applications {
		if _, ok := a.overlays[strings.TrimPrefix(name, namespacePrefix)]; !ok {
			wrong(application, "", "has no overlay")
		}
	}
}

// checkApplications wants an Application to deploy its overlay, and what all of
// them have in common.
func checkApplications(a *argoCD, wrong reportObject) {
	for name := range a.overlays {
		app, ok := a.applications[Namespace(name)]
		if !ok {
			continue // checkCorrespondence says so
		}
		equal := equal(app, wrong)
		source := app.Spec.Source
		equal("project", app.Spec.Project, "grpc-lb")
		equal("source.repoURL", source.RepoURL, a.root.Spec.Source.RepoURL)
		equal("source.targetRevision", source.TargetRevision, a.root.Spec.Source.TargetRevision)
		equal("source.path", source.Path, path.Join("overlays", name))
		equal("destination", app.Spec.Destination, destination{Server: inCluster, Namespace: Namespace(name)})
		equal("manifest-generate-paths", app.Annotations["argocd.argoproj.io/manifest-generate-paths"], "/overlays/"+name+";/base")
		equal("sync-options", app.Annotations[syncOptions], pruneConfirm)
		equal("syncOptions", app.Spec.SyncPolicy.SyncOptions, []string{"ServerSideApply=true", "RespectIgnoreDifferences=true", "PruneLast=true", "FailOnSharedResource=true"})
		if server, ok := component(a.overlays[name], Server); ok { // else another rule says why
			equal("ignoreDifferences", app.Spec.IgnoreDifferences, "[{apps Deployment "+server.Name+" [/spec/replicas]}]")
		}
		checkSyncs(app, equal)
	}
}

// checkSyncs wants what lets an Application, root among them, follow its branch:
// a sync that failed goes on with the newest commit.
func checkSyncs(app *application, equal func(field string, got, want any)) {
	policy := app.Spec.SyncPolicy
	equal("finalizers", app.Finalizers, []string{"resources-finalizer.argocd.argoproj.io"})
	equal("automated.prune", policy.Automated.Prune, true)
	equal("automated.selfHeal", policy.Automated.SelfHeal, true)
	equal("automated.enabled", policy.Automated.Enabled == nil || *policy.Automated.Enabled, true)
	equal("retry.limit", policy.Retry.Limit, 5)
	equal("retry.refresh", policy.Retry.Refresh, true)
}

// checkProject wants the AppProject to allow this repository, where the
// overlays are deployed, and nothing else.
func checkProject(a *argoCD, wrong reportObject) {
	if a.project == nil {
		return
	}
	equal := equal(a.project, wrong)
	equal("name", a.project.Name, "grpc-lb")
	equal("sourceRepos", a.project.Spec.SourceRepos, []string{a.root.Spec.Source.RepoURL})
	equal("destinations", a.project.Spec.Destinations, []destination{{Server: inCluster, Namespace: namespacePrefix + "*"}})
	for _, allowed := range a.project.Spec.ClusterResourceWhitelist {
		if allowed.Name != "" {
			equal("name in clusterResourceWhitelist", allowed.Name, namespacePrefix+"*")
		}
	}
}

// checkKinds wants the AppProject to allow the kinds that the overlays render.
func checkKinds(a *argoCD, wrong reportObject) {
	if a.project == nil {
		return
	}
	var cluster, namespaced, allowed []metav1.GroupKind
	for _, objects := range a.overlays {
		for _, o := range objects {
			kind := groupKind(o.GetObjectKind().GroupVersionKind())
			if o.GetNamespace() == "" {
				cluster = append(cluster, kind)
			} else {
				namespaced = append(namespaced, kind)
			}
		}
	}
	for _, r := range a.project.Spec.ClusterResourceWhitelist {
		allowed = append(allowed, r.GroupKind)
	}
	equal := equal(a.project, wrong)
	equal("clusterResourceWhitelist", sorted(allowed), slices.Compact(sorted(cluster)))
	equal("namespaceResourceWhitelist", sorted(a.project.Spec.NamespaceResourceWhitelist), slices.Compact(sorted(namespaced)))
}

// checkRoot wants root in a project of its own, since default may be locked and
// allows all where it is not, and all that it makes in root's namespace.
func checkRoot(a *argoCD, wrong reportObject) {
	root, its := &a.root, &a.rootProject
	if its.Name == "" || its.Name == "default" || its.Name == "grpc-lb" {
		wrong(root, "", "root.yaml has the AppProject %q, expected one of its own", its.Name)
		return
	}
	app, project := equal(root, wrong), equal(its, wrong)
	app("project", root.Spec.Project, its.Name)
	app("source.path", root.Spec.Source.Path, "argocd")
	app("destination", root.Spec.Destination, destination{Server: inCluster, Namespace: root.Namespace})
	checkSyncs(root, app)
	project("namespace", its.Namespace, root.Namespace)
	project("finalizers", its.Finalizers, root.Finalizers)
	project("sourceRepos", its.Spec.SourceRepos, []string{root.Spec.Source.RepoURL})
	project("destinations", its.Spec.Destinations, []destination{root.Spec.Destination})
	project("clusterResourceWhitelist", its.Spec.ClusterResourceWhitelist, []string{})
	project("namespaceResourceWhitelist", sorted(its.Spec.NamespaceResourceWhitelist), []metav1.GroupKind{{Group: "argoproj.io", Kind: "AppProject"}, {Group: "argoproj.io", Kind: "Application"}})
	for _, made := range a.applications {
		equal(made, wrong)("namespace", made.Namespace, root.Namespace)
	}
	if a.project != nil {
		equal(a.project, wrong)("namespace", a.project.Namespace, root.Namespace)
	}
}

// Argo CD's annotation of an object, and its value that protects what would take
// more than itself along.
const (
	syncOptions  = "argocd.argoproj.io/sync-options"
	pruneConfirm = "Prune=confirm"
)

// checkPruning wants a Namespace to outlive the line that renders it.
func checkPruning(r rendering, wrong reportObject) {
	for _, n := range all[*corev1.Namespace](r.objects) {
		options := strings.Split(n.Annotations[syncOptions], ",")
		if !slices.Contains(options, pruneConfirm) && !slices.Contains(options, "Prune=false") {
			wrong(n, "", "%s is %q, expected %s: Argo CD would delete it, with all that is in it, once it is not rendered", syncOptions, n.Annotations[syncOptions], pruneConfirm)
		}
	}
}

// defaultDeadline is Kubernetes' own progressDeadlineSeconds.
const defaultDeadline = 600

// checkDeadline wants a rollout that hangs to fail soon: Argo CD waits for it and
// takes no commit before.
func checkDeadline(r rendering, wrong reportObject) {
	for _, d := range all[*appsv1.Deployment](r.objects) {
		deadline := int32(defaultDeadline)
		if d.Spec.ProgressDeadlineSeconds != nil {
			deadline = *d.Spec.ProgressDeadlineSeconds
		}
		if deadline >= defaultDeadline {
			wrong(d, "", "progressDeadlineSeconds is %d, expected less: so long Argo CD waits for a rollout that hangs, and takes no commit, such as a revert", deadline)
		}
	}
}

// equal returns what reports a field of an object that is not as expected.
func equal(o named, wrong reportObject) func(field string, got, want any) {
	return func(field string, got, want any) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			wrong(o, "", "%s is %v, expected %v", field, got, want)
		}
	}
}

func groupKind(kind schema.GroupVersionKind) metav1.GroupKind {
	return metav1.GroupKind{Group: kind.Group, Kind: kind.Kind}
}

func sorted(kinds []metav1.GroupKind) []metav1.GroupKind {
	return slices.SortedFunc(slices.Values(kinds), func(a, b metav1.GroupKind) int {
		return strings.Compare(a.String(), b.String())
	})
}
