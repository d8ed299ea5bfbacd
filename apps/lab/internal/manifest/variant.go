package manifest

import (
	"path"
	"slices"

	"sigs.k8s.io/kustomize/api/types"
)

// Variant is an overlay with components of base added, in a namespace of its
// own. It exists in memory only: who wants one adds the components by hand.
type Variant struct {
	Name       string
	Overlay    string   // a directory of overlays/
	Components []string // directories of base/components/
}

// Variants are the variants that can be rendered by their names.
var Variants = []Variant{
	{Name: "l4-max-age", Overlay: "l4", Components: []string{"max-connection-age"}},
	{Name: "dns-max-age", Overlay: "dns", Components: []string{"max-connection-age"}},
}

// source is what a name stands for: an overlay's directory and, for a variant,
// what is put around it.
type source struct {
	dir   string // relative to the checkout
	outer types.Kustomization
}

// components returns the directories of the source's components, relative to the checkout.
func (s source) components() []string {
	var dirs []string
	for _, c := range s.outer.Components {
		dirs = append(dirs, path.Clean(path.Join("outer", c)))
	}
	return dirs
}

// find returns what the name of an overlay or a variant stands for.
func (r *Repository) find(name string) (source, error) {
	names, err := r.List()
	if err != nil {
		return source{}, err
	}
	if slices.Contains(names, name) {
		dir := path.Join("overlays", name)
		return source{dir: dir, outer: types.Kustomization{Resources: []string{"../" + dir}}}, nil
	}
	for _, v := range Variants {
		if v.Name != name {
			continue
		}
		s, err := r.find(v.Overlay)
		if err != nil {
			return source{}, err
		}
		for _, c := range v.Components {
			s.outer.Components = append(s.outer.Components, path.Join("../base/components", c))
		}
		s.outer.Namespace = Namespace(name)
		return s, nil
	}
	all, err := r.All()
	if err != nil {
		return source{}, err
	}
	return source{}, &UnknownError{Name: name, Known: all}
}
