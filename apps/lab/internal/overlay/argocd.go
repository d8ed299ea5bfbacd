package overlay

import (
	"errors"
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
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
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
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
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

// argoCD is what the rules judge of Argo CD's files.
type argoCD struct {
	root         application // argocd/root.yaml
	project      *project
	applications map[string]*application
	overlays     map[string][]Object // the objects of each overlay by name
	wrong        []argoError         // of objects that are none of these
}

type argoError struct {
	object named
	err    error
}

// checkArgoCD judges argocd/ by all rules.
func (r *Repository) checkArgoCD(overlays map[string][]Object) []Violation {
	const file = "argocd/kustomization.yaml"
	broken := func(errs ...error) []Violation {
		return (&tree{broken: errs, origins: origins{overlay: file}}).check()
	}
	sources, errs := r.sources("argocd")
	if len(errs) > 0 {
		return broken(errs...)
	}
	rendered, err := r.RenderDir("argocd")
	if err != nil {
		return broken(err)
	}
	root, err := r.read("argocd/root.yaml")
	if err != nil {
		return broken(err)
	}
	from := r.origins(file, sources)
	from.all = append(from.all, origin{file: "argocd/root.yaml", object: "Application/grpc-lb", declared: true})
	return readArgoCD(rendered, root, overlays).check(from)
}

// CheckArgoCD reports everything in which Argo CD's files differ from the
// overlays: argocd is the rendering of argocd/, root the content of
// argocd/root.yaml, overlays the objects of each overlay by name.
func CheckArgoCD(argocd, root []byte, overlays map[string][]Object) error {
	return join("argocd", readArgoCD(argocd, root, overlays).check(origins{}))
}

func (a *argoCD) check(from origins) []Violation {
	var found []Violation
	for _, rule := range Rules {
		if rule.argocd != nil {
			rule.argocd(a, rule.reporter(&found, "", from))
		}
	}
	return found
}

func readArgoCD(argocd, root []byte, overlays map[string][]Object) *argoCD {
	a := &argoCD{overlays: overlays, applications: map[string]*application{}}
	if err := decodeStrict(root, &a.root); err != nil {
		a.wrong = append(a.wrong, argoError{&a.root, fmt.Errorf("root.yaml: %w", err)})
	}
	objects, err := Unstructured(argocd)
	if err != nil {
		a.wrong = append(a.wrong, argoError{nil, err})
	}
	for _, u := range objects {
		content, err := u.MarshalJSON()
		switch u.GetKind() {
		case "Application":
			found := &application{}
			if err == nil {
				err = decodeStrict(content, found)
			}
			a.applications[u.GetName()] = found
		case "AppProject":
			if a.project != nil {
				err = errors.Join(err, errors.New("is a second AppProject, expected 1"))
			}
			a.project = &project{}
			err = errors.Join(err, decodeStrict(content, a.project))
		default:
			err = errors.New("is neither an Application nor the AppProject")
		}
		if err != nil {
			a.wrong = append(a.wrong, argoError{u, err})
		}
	}
	return a
}

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
		source, policy := app.Spec.Source, app.Spec.SyncPolicy
		equal("project", app.Spec.Project, "grpc-lb")
		equal("source.repoURL", source.RepoURL, a.root.Spec.Source.RepoURL)
		equal("source.targetRevision", source.TargetRevision, a.root.Spec.Source.TargetRevision)
		equal("source.path", source.Path, path.Join("overlays", name))
		equal("destination", app.Spec.Destination, destination{Server: inCluster, Namespace: Namespace(name)})
		equal("manifest-generate-paths", app.Annotations["argocd.argoproj.io/manifest-generate-paths"], "/overlays/"+name+";/base")
		equal("finalizers", app.Finalizers, []string{"resources-finalizer.argocd.argoproj.io"})
		equal("automated", policy.Automated, "{true true}")
		equal("retry.limit", policy.Retry.Limit, 5)
		equal("syncOptions", policy.SyncOptions, []string{"ServerSideApply=true", "RespectIgnoreDifferences=true", "PruneLast=true", "FailOnSharedResource=true"})
		server, _ := component(a.overlays[name], Server)
		equal("ignoreDifferences", app.Spec.IgnoreDifferences, "[{apps Deployment "+server.Name+" [/spec/replicas]}]")
	}
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
}

// checkKinds wants the AppProject to allow the kinds that the overlays render.
func checkKinds(a *argoCD, wrong reportObject) {
	if a.project == nil {
		return
	}
	var cluster, namespaced []metav1.GroupKind
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
	equal := equal(a.project, wrong)
	equal("clusterResourceWhitelist", sorted(a.project.Spec.ClusterResourceWhitelist), slices.Compact(sorted(cluster)))
	equal("namespaceResourceWhitelist", sorted(a.project.Spec.NamespaceResourceWhitelist), slices.Compact(sorted(namespaced)))
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
