package runner

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/manifest"
)

// Overlay is a strategy's overlay as a run measures it. It is rendered once, for
// all attempts.
type Overlay struct {
	Strategy
	Namespace string
	// Objects are what is applied: the rendering, with the images that the nodes have.
	Objects []*unstructured.Unstructured
	// Committed is the rendering without other images.
	Committed []manifest.Object
	// Policies are the NetworkPolicies of the overlay's folder network-policy, if an
	// experiment puts them in force.
	Policies []*unstructured.Unstructured
	// Run marks the namespace as made by this run.
	Run string
	// Origins say where images came from that this lab did not build.
	Origins []string
	// Certificates are nil where the pods need none of the lab's.
	Certificates *Certificates

	l4      *appsv1.Deployment // the client to compare with
	differs *[]string          // see observe.Facts.Differs
}

// Render renders the strategies' overlays. Images replaces images of the
// renderings, see manifest.RenderWithImages: the cluster's nodes must have them.
func Render(repository *manifest.Repository, strategies []Strategy, images map[string]string) ([]Overlay, error) {
	plainest, err := repository.Render("l4")
	if err != nil {
		return nil, err
	}
	objects, err := manifest.Unstructured(plainest)
	if err != nil {
		return nil, err
	}
	l4, err := component(objects, manifest.Client)
	if err != nil {
		return nil, err
	}
	run := fmt.Sprint(time.Now().Unix())
	var all []Overlay
	for _, s := range strategies {
		o := Overlay{Strategy: s, Namespace: manifest.Namespace(s.Name), Run: run, l4: l4}
		rendered, err := repository.Render(s.Name)
		if err != nil {
			return nil, err
		}
		if o.Committed, err = manifest.Decode(rendered); err != nil {
			return nil, err
		}
		if o.Objects, err = withImages(repository, s.Name, rendered, images); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(s.Experiments, func(e Experiment) bool { return e.Policies }) {
			if o.Policies, err = repository.Policies(s.Name); err != nil {
				return nil, err
			}
		}
		if slices.ContainsFunc(s.Claims, func(c Claim) bool { return c.Own }) {
			differences, err := manifest.DifferencesInKind(plainest, rendered)
			if err != nil {
				return nil, err
			}
			o.differs = &differences
		}
		if err := o.certify(); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		all = append(all, o)
	}
	return all, nil
}

// withImages renders an overlay with those of the images that it names.
func withImages(repository *manifest.Repository, name string, rendered []byte, images map[string]string) ([]*unstructured.Unstructured, error) {
	named, err := manifest.Images(rendered)
	if err != nil {
		return nil, err
	}
	images = maps.Clone(images)
	maps.DeleteFunc(images, func(from, _ string) bool {
		return !slices.ContainsFunc(named, func(i string) bool { return strings.HasPrefix(i, from+":") || strings.HasPrefix(i, from+"@") })
	})
	if rendered, err = repository.RenderWithImages(name, images); err != nil {
		return nil, err
	}
	return manifest.Unstructured(rendered)
}

// Marked returns the objects, or those of some kinds, with the Namespace marked as
// the lab's.
func (o Overlay) Marked(kinds ...string) []*unstructured.Unstructured {
	var objects []*unstructured.Unstructured
	for _, object := range o.Objects {
		if len(kinds) > 0 && !slices.Contains(kinds, object.GetKind()) {
			continue
		}
		if object.GetKind() == "Namespace" {
			object = object.DeepCopy()
			annotations := object.GetAnnotations()
			if annotations == nil {
				annotations = map[string]string{}
			}
			annotations[MadeByLab] = o.Run
			object.SetAnnotations(annotations)
		}
		objects = append(objects, object)
	}
	return objects
}
