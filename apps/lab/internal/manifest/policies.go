package manifest

import (
	"fmt"
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// PolicyFolder is the folder of an overlay that holds the component with its NetworkPolicies.
const PolicyFolder = "network-policy"

// Policies returns the NetworkPolicies that an overlay, or the overlay of a variant, has once
// its folder network-policy is among its components.
func (r *Repository) Policies(name string) ([]*unstructured.Unstructured, error) {
	rendered, err := r.RenderWithPolicies(name)
	if err != nil {
		return nil, err
	}
	objects, err := Unstructured(rendered)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() != "NetworkPolicy" }), nil
}

// RenderWithPolicies is Render of an overlay, or a variant, with its folder network-policy
// among its components.
func (r *Repository) RenderWithPolicies(name string) ([]byte, error) {
	from, err := r.Composition(name)
	if err != nil {
		return nil, err
	}
	folder := path.Join(from.Dir, PolicyFolder)
	sources, err := r.Sources(from.Dir)
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", name, err)
	}
	if slices.ContainsFunc(sources, func(k Kustomization) bool { return path.Dir(k.File) == folder }) {
		return r.Render(name) // it is among them
	}
	if _, err := r.Sources(folder); err != nil {
		return nil, fmt.Errorf("the NetworkPolicies of %s: %w", name, err)
	}
	from.Outer.Namespace = Namespace(name)
	from.Outer.Components = append(from.Outer.Components, path.Join("..", folder))
	out, err := r.RenderComposition(from, nil)
	if err != nil {
		return nil, fmt.Errorf("rendering %s with its NetworkPolicies: %w", name, err)
	}
	return out, nil
}
