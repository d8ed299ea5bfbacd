package manifest

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/json"
	sigsyaml "sigs.k8s.io/yaml"
)

// application is the part of Argo CD's Application that the rules judge.
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
		Destination       destination        `json:"destination"`
		IgnoreDifferences []ignoreDifference `json:"ignoreDifferences"`
		SyncPolicy        struct {
			Automated struct {
				Enabled  *bool `json:"enabled"`
				Prune    bool  `json:"prune"`
				SelfHeal bool  `json:"selfHeal"`
			} `json:"automated"`
			Retry struct {
				Limit   int64 `json:"limit"`
				Refresh bool  `json:"refresh"`
			} `json:"retry"`
			SyncOptions []string `json:"syncOptions"`
		} `json:"syncPolicy"`
	} `json:"spec"`
}

type ignoreDifference struct {
	Group        string   `json:"group"`
	Kind         string   `json:"kind"`
	Name         string   `json:"name"`
	JSONPointers []string `json:"jsonPointers"`
}

// project is the part of Argo CD's AppProject that the rules judge.
type project struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		SourceRepos                []string           `json:"sourceRepos"`
		Destinations               []destination      `json:"destinations"`
		ClusterResourceWhitelist   []clusterResource  `json:"clusterResourceWhitelist"`
		NamespaceResourceWhitelist []metav1.GroupKind `json:"namespaceResourceWhitelist"`
	} `json:"spec"`
}

// clusterResource has a name, which is a pattern, from Argo CD 3.3 on.
type clusterResource struct {
	metav1.GroupKind `json:",inline"`
	Name             string `json:"name"`
}

type destination struct {
	Server    string `json:"server"`
	Namespace string `json:"namespace"`
}

const inCluster = "https://kubernetes.default.svc"

// argoCD is what the rules judge of Argo CD's files.
type argoCD struct {
	root         application // of argocd/root.yaml, as is rootProject
	rootProject  project
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
		return (&tree{repository: r, broken: errs, origins: origins{overlay: file}}).check()
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
	for _, object := range objectsIn(string(root)) {
		from.all = append(from.all, origin{file: "argocd/root.yaml", object: object, declared: true})
	}
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
	a.readRoot(root)
	objects, err := Unstructured(argocd)
	if err != nil {
		a.wrong = append(a.wrong, argoError{nil, err})
	}
	for _, u := range objects {
		switch u.GetKind() {
		case "Application":
			found := &application{}
			err = decodeArgo(u, found)
			a.applications[u.GetName()] = found
		case "AppProject":
			err = nil
			if a.project != nil {
				err = errors.New("is a second AppProject, expected 1")
			}
			a.project = &project{}
			err = errors.Join(err, decodeArgo(u, a.project))
		default:
			err = errors.New("is neither an Application nor the AppProject")
		}
		if err != nil {
			a.wrong = append(a.wrong, argoError{u, err})
		}
	}
	return a
}

// readRoot reads root.yaml, which no kustomize has read before.
func (a *argoCD) readRoot(root []byte) {
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(root)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			_, err = sigsyaml.YAMLToJSONStrict(document) // it tells of a field that is there twice
		}
		objects, broken := Unstructured(document)
		if err = errors.Join(err, broken); err != nil {
			a.wrong = append(a.wrong, argoError{&a.root, fmt.Errorf("root.yaml: %w", err)})
			return
		}
		for _, u := range objects {
			switch kind := u.GetKind(); {
			case kind == "Application" && a.root.Name == "":
				err = decodeArgo(u, &a.root)
			case kind == "AppProject" && a.rootProject.Name == "":
				err = decodeArgo(u, &a.rootProject)
			default:
				err = errors.New("expected one Application and one AppProject")
			}
			if err != nil {
				a.wrong = append(a.wrong, argoError{u, fmt.Errorf("root.yaml: %w", err)})
			}
		}
	}
}

// decodeArgo reads an Application or an AppProject into what the rules judge of
// it, and says which of its fields Argo CD does not have.
func decodeArgo(u *unstructured.Unstructured, into any) error {
	content, err := u.MarshalJSON()
	if err != nil {
		return err
	}
	outer := struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              any `json:"spec"`
		Operation         any `json:"operation"`
		Status            any `json:"status"`
	}{}
	errs := []error{decodeStrict(content, &outer)}
	for _, what := range misfits(argoFields[u.GetKind()], u.Object["spec"], "spec") {
		errs = append(errs, errors.New(what))
	}
	// What can be read is judged, whatever is wrong with the rest.
	err = json.UnmarshalCaseSensitivePreserveInts(content, into)
	return cmp.Or(errors.Join(errs...), err)
}
