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
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/json"
	sigsyaml "sigs.k8s.io/yaml"
)

// Application is the part of Argo CD's Application that the rules judge.
type Application struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Project string `json:"project"`
		Source  struct {
			RepoURL        string `json:"repoURL"`
			TargetRevision string `json:"targetRevision"`
			Path           string `json:"path"`
		} `json:"source"`
		Destination       Destination        `json:"destination"`
		IgnoreDifferences []IgnoreDifference `json:"ignoreDifferences"`
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

// IgnoreDifference names fields of an object that an Application does not compare.
type IgnoreDifference struct {
	Group        string   `json:"group"`
	Kind         string   `json:"kind"`
	Name         string   `json:"name"`
	JSONPointers []string `json:"jsonPointers"`
}

// Project is the part of Argo CD's AppProject that the rules judge.
type Project struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		SourceRepos                []string           `json:"sourceRepos"`
		Destinations               []Destination      `json:"destinations"`
		ClusterResourceWhitelist   []ClusterResource  `json:"clusterResourceWhitelist"`
		NamespaceResourceWhitelist []metav1.GroupKind `json:"namespaceResourceWhitelist"`
	} `json:"spec"`
}

// ClusterResource has a name, which is a pattern, from Argo CD 3.3 on.
type ClusterResource struct {
	metav1.GroupKind `json:",inline"`
	Name             string `json:"name"`
}

// Destination is a namespace of a cluster into which an Application may deploy.
type Destination struct {
	Server    string `json:"server"`
	Namespace string `json:"namespace"`
}

// InCluster is the address of the cluster that Argo CD runs in.
const InCluster = "https://kubernetes.default.svc"

// ArgoCD is what the rules judge of Argo CD's files.
type ArgoCD struct {
	Root         Application // of argocd/root.yaml, as is RootProject
	RootProject  Project
	Project      *Project // nil where there is none
	Applications map[string]*Application
	Overlays     map[string][]Object // the objects of each overlay by name
	Wrong        []ArgoCDError
}

// ArgoCDError says why an object is not one that Argo CD has.
type ArgoCDError struct {
	Object Named // nil where the rendering cannot be read
	Err    error
}

// ReadArgoCD reads Argo CD's files. The errors of an object are in
// Wrong. The fields that could be read are judged in spite of them.
//
// argocd is the rendering of argocd/, root the content of argocd/root.yaml, and
// overlays has the objects of each overlay by name.
func ReadArgoCD(argocd, root []byte, overlays map[string][]Object) *ArgoCD {
	a := &ArgoCD{Overlays: overlays, Applications: map[string]*Application{}}
	a.readRoot(root)
	objects, err := Unstructured(argocd)
	if err != nil {
		a.Wrong = append(a.Wrong, ArgoCDError{nil, err})
	}
	for _, u := range objects {
		switch u.GetKind() {
		case "Application":
			found := &Application{}
			err = decodeArgo(u, found)
			a.Applications[u.GetName()] = found
		case "AppProject":
			err = nil
			if a.Project != nil {
				err = errors.New("is a second AppProject, expected 1")
			}
			a.Project = &Project{}
			err = errors.Join(err, decodeArgo(u, a.Project))
		default:
			err = errors.New("is neither an Application nor the AppProject")
		}
		if err != nil {
			a.Wrong = append(a.Wrong, ArgoCDError{u, err})
		}
	}
	return a
}

// readRoot reads root.yaml, which no kustomize has read before.
func (a *ArgoCD) readRoot(root []byte) {
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
			a.Wrong = append(a.Wrong, ArgoCDError{&a.Root, fmt.Errorf("root.yaml: %w", err)})
			return
		}
		for _, u := range objects {
			switch kind := u.GetKind(); {
			case kind == "Application" && a.Root.Name == "":
				err = decodeArgo(u, &a.Root)
			case kind == "AppProject" && a.RootProject.Name == "":
				err = decodeArgo(u, &a.RootProject)
			default:
				err = errors.New("expected one Application and one AppProject")
			}
			if err != nil {
				a.Wrong = append(a.Wrong, ArgoCDError{u, fmt.Errorf("root.yaml: %w", err)})
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
	errs := []error{DecodeStrict(content, &outer)}
	for _, what := range misfits(argoFields[u.GetKind()], u.Object["spec"], "spec") {
		errs = append(errs, errors.New(what))
	}
	// The fields that can be read are judged in spite of an error in others.
	err = json.UnmarshalCaseSensitivePreserveInts(content, into)
	return cmp.Or(errors.Join(errs...), err)
}

// Admitted returns the kinds that the AppProject in argocd/ admits, or none if it cannot
// be read.
func (r *Repository) Admitted() []schema.GroupKind {
	rendered, err := r.RenderDir(ArgoCDDir)
	if err != nil {
		return nil
	}
	a := ReadArgoCD(rendered, nil, nil)
	if a.Project == nil {
		return nil
	}
	var all []schema.GroupKind
	for _, c := range a.Project.Spec.ClusterResourceWhitelist {
		all = append(all, schema.GroupKind(c.GroupKind))
	}
	for _, n := range a.Project.Spec.NamespaceResourceWhitelist {
		all = append(all, schema.GroupKind(n))
	}
	return all
}
