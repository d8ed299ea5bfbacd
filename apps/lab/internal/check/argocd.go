package check

import (
	"fmt"
	"path"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

var argocdStrictRule = Rule{Name: "argocd-strict", Remedy: "use Applications and one AppProject, with fields that Argo CD has, in its spelling", argocd: checkArgoStrict}

// checkArgoStrict wants objects and fields that Argo CD knows, in its spelling.
func checkArgoStrict(a *manifest.ArgoCD, wrong reportObject) {
	for _, e := range a.Wrong {
		wrong(e.Object, "", "%s", manifest.OneLine(e.Err))
	}
	if a.Project == nil {
		wrong(nil, "", "0 AppProjects, expected 1")
	}
}

var argocdApplicationsRule = Rule{Name: "argocd-applications", Remedy: "keep one Application grpc-lb-<directory> for each overlay", argocd: checkCorrespondence}

// checkCorrespondence wants an Application for each overlay, and no other.
func checkCorrespondence(a *manifest.ArgoCD, wrong reportObject) {
	for name := range a.Overlays {
		if _, ok := a.Applications[manifest.Namespace(name)]; !ok {
			wrong(nil, "", "no Application/%s for overlays/%s", manifest.Namespace(name), name)
		}
	}
	for name, application := range a.Applications {
		if _, ok := a.Overlays[strings.TrimPrefix(name, manifest.NamespacePrefix)]; !ok {
			wrong(application, "", "has no overlay")
		}
	}
}

var argocdApplicationRule = Rule{Name: "argocd-application", Remedy: "give the Application the fields that all Applications share, as in argocd/l4.yaml", argocd: checkApplications}

// checkApplications wants an Application to deploy its overlay, and what all of
// them have in common.
func checkApplications(a *manifest.ArgoCD, wrong reportObject) {
	for name := range a.Overlays {
		app, ok := a.Applications[manifest.Namespace(name)]
		if !ok {
			continue // checkCorrespondence says so
		}
		equal := equal(app, wrong)
		source := app.Spec.Source
		equal("project", app.Spec.Project, "grpc-lb")
		equal("source.repoURL", source.RepoURL, a.Root.Spec.Source.RepoURL)
		equal("source.targetRevision", source.TargetRevision, a.Root.Spec.Source.TargetRevision)
		equal("source.path", source.Path, path.Join("overlays", name))
		equal("destination", app.Spec.Destination, manifest.Destination{Server: manifest.InCluster, Namespace: manifest.Namespace(name)})
		equal("manifest-generate-paths", app.Annotations["argocd.argoproj.io/manifest-generate-paths"], "/overlays/"+name+";/base")
		equal("sync-options", app.Annotations[syncOptions], pruneConfirm)
		equal("syncOptions", app.Spec.SyncPolicy.SyncOptions, []string{"ServerSideApply=true", "RespectIgnoreDifferences=true", "PruneLast=true", "FailOnSharedResource=true"})
		if server, ok := manifest.Component(a.Overlays[name], manifest.Server); ok { // else another rule says why
			equal("ignoreDifferences", app.Spec.IgnoreDifferences, "[{apps Deployment "+server.Name+" [/spec/replicas]}]")
		}
		checkSyncs(app, equal)
	}
}

// checkSyncs wants what lets an Application, root among them, follow its branch:
// a sync that failed goes on with the newest commit.
func checkSyncs(app *manifest.Application, equal func(field string, got, want any)) {
	policy := app.Spec.SyncPolicy
	equal("finalizers", app.Finalizers, []string{"resources-finalizer.argocd.argoproj.io"})
	equal("automated.prune", policy.Automated.Prune, true)
	equal("automated.selfHeal", policy.Automated.SelfHeal, true)
	equal("automated.enabled", policy.Automated.Enabled == nil || *policy.Automated.Enabled, true)
	equal("retry.limit", policy.Retry.Limit, 5)
	equal("retry.refresh", policy.Retry.Refresh, true)
}

var argocdProjectRule = Rule{Name: "argocd-project", Remedy: "allow only this repository, and only the namespaces grpc-lb-*", argocd: checkProject}

// checkProject wants the AppProject to allow this repository, where the
// overlays are deployed, and nothing else.
func checkProject(a *manifest.ArgoCD, wrong reportObject) {
	if a.Project == nil {
		return
	}
	equal := equal(a.Project, wrong)
	equal("name", a.Project.Name, "grpc-lb")
	equal("sourceRepos", a.Project.Spec.SourceRepos, []string{a.Root.Spec.Source.RepoURL})
	equal("destinations", a.Project.Spec.Destinations, []manifest.Destination{{Server: manifest.InCluster, Namespace: manifest.NamespacePrefix + "*"}})
	for _, allowed := range a.Project.Spec.ClusterResourceWhitelist {
		if allowed.Name != "" {
			equal("name in clusterResourceWhitelist", allowed.Name, manifest.NamespacePrefix+"*")
		}
	}
}

var argocdKindsRule = Rule{Name: "argocd-kinds", Remedy: "list exactly the kinds that the overlays render", argocd: checkKinds}

// offered are kinds that an overlay renders only with a component that it need not have.
// The AppProject may allow them before.
var offered = []metav1.GroupKind{{Group: "networking.k8s.io", Kind: "NetworkPolicy"}}

// checkKinds wants the AppProject to allow the kinds that the overlays render.
func checkKinds(a *manifest.ArgoCD, wrong reportObject) {
	if a.Project == nil {
		return
	}
	var cluster, namespaced, allowed []metav1.GroupKind
	for _, objects := range a.Overlays {
		for _, o := range objects {
			kind := groupKind(o.GetObjectKind().GroupVersionKind())
			if o.GetNamespace() == "" {
				cluster = append(cluster, kind)
			} else {
				namespaced = append(namespaced, kind)
			}
		}
	}
	for _, r := range a.Project.Spec.ClusterResourceWhitelist {
		allowed = append(allowed, r.GroupKind)
	}
	equal := equal(a.Project, wrong)
	equal("clusterResourceWhitelist", sorted(allowed), slices.Compact(sorted(cluster)))
	inNamespaces := slices.DeleteFunc(sorted(a.Project.Spec.NamespaceResourceWhitelist), func(kind metav1.GroupKind) bool {
		return slices.Contains(offered, kind) && !slices.Contains(namespaced, kind)
	})
	equal("namespaceResourceWhitelist", inNamespaces, slices.Compact(sorted(namespaced)))
}

var argocdRootRule = Rule{Name: "argocd-root", Remedy: "give root.yaml its own AppProject, which allows this repository's Applications and AppProjects in Argo CD's namespace, and nothing else", argocd: checkRoot}

// checkRoot wants root in a project of its own, since default may be locked and
// allows all where it is not, and all that it makes in root's namespace.
func checkRoot(a *manifest.ArgoCD, wrong reportObject) {
	root, its := &a.Root, &a.RootProject
	if its.Name == "" || its.Name == "default" || its.Name == "grpc-lb" {
		wrong(root, "", "root.yaml has the AppProject %q, expected one of its own", its.Name)
		return
	}
	app, project := equal(root, wrong), equal(its, wrong)
	app("project", root.Spec.Project, its.Name)
	app("source.path", root.Spec.Source.Path, "argocd")
	app("destination", root.Spec.Destination, manifest.Destination{Server: manifest.InCluster, Namespace: root.Namespace})
	checkSyncs(root, app)
	project("namespace", its.Namespace, root.Namespace)
	project("finalizers", its.Finalizers, root.Finalizers)
	project("sourceRepos", its.Spec.SourceRepos, []string{root.Spec.Source.RepoURL})
	project("destinations", its.Spec.Destinations, []manifest.Destination{root.Spec.Destination})
	project("clusterResourceWhitelist", its.Spec.ClusterResourceWhitelist, []string{})
	project("namespaceResourceWhitelist", sorted(its.Spec.NamespaceResourceWhitelist), []metav1.GroupKind{{Group: "argoproj.io", Kind: "AppProject"}, {Group: "argoproj.io", Kind: "Application"}})
	for _, made := range a.Applications {
		equal(made, wrong)("namespace", made.Namespace, root.Namespace)
	}
	if a.Project != nil {
		equal(a.Project, wrong)("namespace", a.Project.Namespace, root.Namespace)
	}
}

// Argo CD's annotation of an object, and its value that protects what would take
// more than itself along.
const (
	syncOptions  = "argocd.argoproj.io/sync-options"
	pruneConfirm = "Prune=confirm"
)

var pruneConfirmRule = Rule{Name: "prune-confirm", Remedy: "annotate the Namespace with argocd.argoproj.io/sync-options: Prune=confirm", objects: checkPruning}

// checkPruning wants a Namespace to outlive the line that renders it.
func checkPruning(r manifest.Rendering, wrong reportObject) {
	for _, n := range manifest.All[*corev1.Namespace](r.Objects) {
		options := strings.Split(n.Annotations[syncOptions], ",")
		if !slices.Contains(options, pruneConfirm) && !slices.Contains(options, "Prune=false") {
			wrong(n, "", "%s is %q, expected %s: Argo CD would delete it, with all that is in it, once it is not rendered", syncOptions, n.Annotations[syncOptions], pruneConfirm)
		}
	}
}

// defaultDeadline is Kubernetes' own progressDeadlineSeconds.
const defaultDeadline = 600

var progressDeadlineRule = Rule{Name: "progress-deadline", Remedy: "set progressDeadlineSeconds to 60, or to the time that the slowest start takes", objects: checkDeadline}

// checkDeadline wants a rollout that hangs to fail soon: Argo CD waits for it and
// takes no commit before.
func checkDeadline(r manifest.Rendering, wrong reportObject) {
	for _, d := range manifest.All[*appsv1.Deployment](r.Objects) {
		deadline := int32(defaultDeadline)
		if d.Spec.ProgressDeadlineSeconds != nil {
			deadline = *d.Spec.ProgressDeadlineSeconds
		}
		if deadline >= defaultDeadline {
			wrong(d, "", "progressDeadlineSeconds is %d, expected less: Argo CD waits that long for a rollout that hangs, before it takes another commit, such as a revert", deadline)
		}
	}
}

// equal returns what reports a field of an object that is not as expected.
func equal(o manifest.Named, wrong reportObject) func(field string, got, want any) {
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
