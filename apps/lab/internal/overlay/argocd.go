package overlay

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// application is the part of Argo CD's Application that argocd/ uses. Decoding
// it strictly finds a misspelt field without Argo CD's four hundred modules.
type application struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            struct {
		Project string `json:"project"`
		Source  struct {
			RepoURL        string `json:"repoURL"`
			TargetRevision string `json:"targetRevision"`
			Path           string `json:"path"`
		} `json:"source"`
		Destination       destination `json:"destination"`
		IgnoreDifferences []struct {
			Group        string   `json:"group"`
			Kind         string   `json:"kind"`
			Name         string   `json:"name"`
			JSONPointers []string `json:"jsonPointers"`
		} `json:"ignoreDifferences"`
		SyncPolicy struct {
			Automated struct {
				Prune    bool `json:"prune"`
				SelfHeal bool `json:"selfHeal"`
			} `json:"automated"`
			Retry struct {
				Limit   int64 `json:"limit"`
				Backoff struct {
					Duration    metav1.Duration `json:"duration"`
					Factor      int64           `json:"factor"`
					MaxDuration metav1.Duration `json:"maxDuration"`
				} `json:"backoff"`
			} `json:"retry"`
			SyncOptions []string `json:"syncOptions"`
		} `json:"syncPolicy"`
	} `json:"spec"`
}

// project is the part of Argo CD's AppProject that argocd/ uses.
type project struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            struct {
		Description                string             `json:"description"`
		SourceRepos                []string           `json:"sourceRepos"`
		Destinations               []destination      `json:"destinations"`
		ClusterResourceWhitelist   []metav1.GroupKind `json:"clusterResourceWhitelist"`
		NamespaceResourceWhitelist []metav1.GroupKind `json:"namespaceResourceWhitelist"`
	} `json:"spec"`
}

type destination struct {
	Server    string `json:"server"`
	Namespace string `json:"namespace"`
}

const inCluster = "https://kubernetes.default.svc"

// CheckArgoCD reports everything in which Argo CD's files differ from the
// overlays: argocd is the rendering of argocd/, root the content of
// argocd/root.yaml, overlays the objects of each overlay by name.
func CheckArgoCD(argocd, root []byte, overlays map[string][]Object) error {
	var violations []string
	wrong := func(format string, args ...any) { violations = append(violations, fmt.Sprintf(format, args...)) }

	var top application
	if err := decodeStrict(root, &top); err != nil {
		return fmt.Errorf("argocd: root.yaml: %s", oneLine(err))
	}
	objects, err := Unstructured(argocd)
	if err != nil {
		return err
	}
	applications, projects := map[string]application{}, 0
	for _, u := range objects {
		content, err := json.Marshal(u)
		if err != nil {
			return fmt.Errorf("argocd: %s %s: %w", u.GetKind(), u.GetName(), err)
		}
		switch u.GetKind() {
		case "Application":
			var a application
			if err := decodeStrict(content, &a); err != nil {
				wrong("Application/%s: %s", u.GetName(), oneLine(err))
				continue
			}
			applications[u.GetName()] = a
		case "AppProject":
			var p project
			if err := decodeStrict(content, &p); err != nil {
				wrong("AppProject/%s: %s", u.GetName(), oneLine(err))
				continue
			}
			projects++
			violations = append(violations, checkProject(p, top.Spec.Source.RepoURL, overlays)...)
		default:
			wrong("%s/%s is neither an Application nor the AppProject", u.GetKind(), u.GetName())
		}
	}
	if projects != 1 {
		wrong("%d AppProjects, expected 1", projects)
	}
	for name := range overlays {
		a, ok := applications[Namespace(name)]
		if !ok {
			wrong("no Application/%s for overlays/%s", Namespace(name), name)
			continue
		}
		violations = append(violations, checkApplication(a, name, top)...)
		delete(applications, Namespace(name))
	}
	for name := range applications {
		wrong("Application/%s has no overlay", name)
	}
	return join("argocd", violations)
}

// checkApplication wants an Application to deploy its overlay, and what all of
// them have in common.
func checkApplication(a application, name string, root application) []string {
	var violations []string
	equal := func(field string, got, want any) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			violations = append(violations, fmt.Sprintf("Application/%s: %s is %v, expected %v", a.Metadata.Name, field, got, want))
		}
	}
	source, policy := a.Spec.Source, a.Spec.SyncPolicy
	equal("project", a.Spec.Project, "grpc-lb")
	equal("source.repoURL", source.RepoURL, root.Spec.Source.RepoURL)
	equal("source.targetRevision", source.TargetRevision, root.Spec.Source.TargetRevision)
	equal("source.path", source.Path, path.Join("overlays", name))
	equal("destination", a.Spec.Destination, destination{Server: inCluster, Namespace: Namespace(name)})
	equal("manifest-generate-paths", a.Metadata.Annotations["argocd.argoproj.io/manifest-generate-paths"], "/overlays/"+name+";/base")
	equal("finalizers", a.Metadata.Finalizers, []string{"resources-finalizer.argocd.argoproj.io"})
	equal("automated", policy.Automated, "{true true}")
	equal("retry.limit", policy.Retry.Limit, 5)
	equal("syncOptions", policy.SyncOptions, []string{"ServerSideApply=true", "RespectIgnoreDifferences=true", "PruneLast=true", "FailOnSharedResource=true"})
	equal("ignoreDifferences", a.Spec.IgnoreDifferences, "[{apps Deployment echo-server [/spec/replicas]}]")
	return violations
}

// checkProject wants the AppProject to allow what the overlays render, where
// they render it, and nothing else.
func checkProject(p project, repoURL string, overlays map[string][]Object) []string {
	var violations []string
	equal := func(field string, got, want any) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			violations = append(violations, fmt.Sprintf("AppProject/%s: %s is %v, expected %v", p.Metadata.Name, field, got, want))
		}
	}
	equal("name", p.Metadata.Name, "grpc-lb")
	equal("sourceRepos", p.Spec.SourceRepos, []string{repoURL})
	equal("destinations", p.Spec.Destinations, []destination{{Server: inCluster, Namespace: namespacePrefix + "*"}})
	var cluster, namespaced []metav1.GroupKind
	for _, objects := range overlays {
		for _, o := range objects {
			kind := groupKind(o.GetObjectKind().GroupVersionKind())
			if o.GetNamespace() == "" {
				cluster = append(cluster, kind)
			} else {
				namespaced = append(namespaced, kind)
			}
		}
	}
	equal("clusterResourceWhitelist", sorted(p.Spec.ClusterResourceWhitelist), slices.Compact(sorted(cluster)))
	equal("namespaceResourceWhitelist", sorted(p.Spec.NamespaceResourceWhitelist), slices.Compact(sorted(namespaced)))
	return violations
}

func groupKind(kind schema.GroupVersionKind) metav1.GroupKind {
	return metav1.GroupKind{Group: kind.Group, Kind: kind.Kind}
}

func sorted(kinds []metav1.GroupKind) []metav1.GroupKind {
	return slices.SortedFunc(slices.Values(kinds), func(a, b metav1.GroupKind) int {
		return strings.Compare(a.String(), b.String())
	})
}
